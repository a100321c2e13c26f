//! Where buffers come from: a pool per task end, with a floor of its own and a share of the rest.

use std::{
    fmt,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    buffer::BufferMut,
    class::SizeClass,
    ledger::PoolSlot,
    memory::Shared,
    span::Span,
    sync::{self, Arc, Thread},
    waiters::{Waits, Want},
};

/// What a pool is to have.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// Whose memory it is, for errors and statistics: "task 3 of map, output 0".
    pub owner: String,
    /// The largest segment it hands out, and what its floor and share are counted in.
    pub unit: SizeClass,
    /// Units that are always its own. With none it has no right to progress: for caches only.
    pub floor_units: usize,
    /// The most it may hold, in bytes; at least the floor.
    pub bytes_max: usize,
}

impl PoolSpec {
    /// What is always its own, in bytes.
    pub fn floor_bytes(&self) -> usize {
        self.floor_units.saturating_mul(self.unit.bytes())
    }

    pub(crate) fn check(&self) {
        let Self { owner, bytes_max, .. } = self;
        let floor = self.floor_bytes();
        assert!(floor <= *bytes_max, "{owner}: a floor of {floor} bytes and a maximum of {bytes_max}");
    }
}

/// Hands out buffers up to its limit. Clones are the same pool; when the last is dropped, its share
/// goes to the others, and buffers still out return later.
///
/// The floor is physically its own: whatever others do, a pool that holds nothing gets a unit.
/// Beyond it nothing is certain: the limit changes as pools come and go, and though nothing is
/// taken away by force, a pool above its limit gets no more. So hold on to no more than the floor
/// while waiting for more, or be ready to be refused.
#[derive(Clone)]
pub struct BufferPool {
    registration: Arc<Registration>,
}

/// Ends with the last handle.
struct Registration {
    shared: Arc<Shared>,
    slot: PoolSlot,
    spec: PoolSpec,
}

impl BufferPool {
    pub(crate) fn of(shared: Arc<Shared>, slot: PoolSlot, spec: PoolSpec) -> BufferPool {
        BufferPool { registration: Arc::new(Registration { shared, slot, spec }) }
    }

    /// A whole segment of the class, if there is one within the limit now.
    ///
    /// # Panics
    /// If the class is larger than the pool's unit.
    pub fn try_acquire(&self, class: SizeClass) -> Option<BufferMut> {
        let slot = self.slot_for(class);
        let block = self.shared().ledger().acquire(slot, class).ok()?;
        Some(self.buffer(block, class))
    }

    /// A whole segment of the class, or the task is woken when it is worth asking again: once a
    /// segment of the class could be had and `wake_at_bytes` could be acquired in all, or nothing of
    /// the pool is in use any more. A larger `wake_at_bytes` makes fewer wake-ups for more work each.
    ///
    /// A waiting task is known by its waker and class; to stop waiting costs it one idle wake-up.
    ///
    /// # Panics
    /// If the class is larger than the pool's unit.
    pub fn poll_acquire(&self, context: &mut Context<'_>, class: SizeClass, wake_at_bytes: usize) -> Poll<BufferMut> {
        let slot = self.slot_for(class);
        let want = Want { class, wake_at_bytes: wake_at_bytes.max(class.bytes()) };
        let shared = self.shared();
        let block = shared.change(|ledger, out| {
            let block = ledger.acquire(slot, class).ok()?;
            ledger.withdraw(slot, class, context.waker(), out);
            Some(block)
        });
        // To clone a waker is foreign code, so it is done between two attempts.
        let block = block.or_else(|| {
            let waker = context.waker().clone();
            shared.change(|ledger, out| ledger.acquire_or_wait(slot, want, waker, out))
        });
        block.map_or(Poll::Pending, |block| Poll::Ready(self.buffer(block, class)))
    }

    /// A whole segment of the class; blocks the thread until there is one. Not on a reactor's
    /// thread, and not while holding more than the floor: the wait could then be for oneself.
    ///
    /// # Panics
    /// If the class is larger than the pool's unit.
    pub fn acquire(&self, class: SizeClass) -> BufferMut {
        if let Some(buffer) = self.try_acquire(class) {
            return buffer;
        }
        let waker = Waker::from(std::sync::Arc::new(Unpark(sync::current())));
        loop {
            let polled = self.poll_acquire(&mut Context::from_waker(&waker), class, class.bytes());
            if let Poll::Ready(buffer) = polled {
                return buffer;
            }
            // May return without cause; then the waker is still registered.
            sync::park();
        }
    }

    /// What could be acquired now, in bytes; perhaps only in smaller segments than the unit.
    pub fn available_bytes(&self) -> usize {
        self.shared().ledger().available_bytes(self.registration.slot)
    }

    /// Bytes of its segments that have a handle, however little of each is still referred to.
    pub fn in_use_bytes(&self) -> usize {
        self.shared().ledger().account(self.registration.slot).in_use()
    }

    /// The most it gets at present, in bytes; changes as pools come and go.
    pub fn limit_bytes(&self) -> usize {
        self.shared().ledger().account(self.registration.slot).limit
    }

    /// What is always its own, in bytes.
    pub fn floor_bytes(&self) -> usize {
        self.registration.spec.floor_bytes()
    }

    /// The largest segment it hands out.
    pub fn unit(&self) -> SizeClass {
        self.registration.spec.unit
    }

    /// Whose memory it is.
    pub fn owner(&self) -> &str {
        &self.registration.spec.owner
    }

    /// How often its users had to wait so far, by cause.
    pub fn waits(&self) -> Waits {
        self.shared().ledger().account(self.registration.slot).waiters.waits()
    }

    fn shared(&self) -> &Shared {
        &self.registration.shared
    }

    fn slot_for(&self, class: SizeClass) -> PoolSlot {
        let Registration { slot, spec, .. } = &*self.registration;
        assert!(class <= spec.unit, "{}: a segment of {class} from a pool of units of {}", spec.owner, spec.unit);
        *slot
    }

    fn buffer(&self, block: u32, class: SizeClass) -> BufferMut {
        let shared = Arc::clone(&self.registration.shared);
        // The ledger hands a block out to one at a time.
        BufferMut::exclusive(Span::segment(shared, block, class))
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("owner", &self.owner()).finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.close(self.slot);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
