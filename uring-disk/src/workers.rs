//! Threads for what blocks: a bounded queue in, results out, and a reactor that is woken.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::thread::{self, JoinHandle};

/// Some threads, and the jobs that they have. Belongs to one reactor.
///
/// Dropping it drops what has not begun, and waits for what has.
pub(crate) struct Workers<Job, Done> {
    shared: Arc<Shared<Job, Done>>,
    threads: Vec<JoinHandle<()>>,
    under_way: usize,
    under_way_max: usize,
}

struct Shared<Job, Done> {
    queue: Mutex<Queue<Job>>,
    filled: Condvar,
    done: Mutex<Vec<Done>>,
    waker: Waker,
}

struct Queue<Job> {
    waiting: VecDeque<Job>,
    is_over: bool,
}

impl<Job: Send + 'static, Done: Send + 'static> Workers<Job, Done> {
    /// One thread for each of `work`. At most so many jobs are under way; `waker` is called when there is a result and
    /// was none before.
    pub(crate) fn start<W>(name: &str, work: Vec<W>, under_way_max: usize, waker: Waker) -> io::Result<Self>
    where
        W: FnMut(Job) -> Done + Send + 'static,
    {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), is_over: false });
        let shared = Arc::new(Shared { queue, filled: Condvar::new(), done: Mutex::default(), waker });
        // Dropped on an error, it ends those that run already.
        let mut workers = Self { shared, threads: Vec::new(), under_way: 0, under_way_max };
        for mut work in work {
            let shared = Arc::clone(&workers.shared);
            let run = move || {
                while let Some(job) = shared.next() {
                    shared.finish(work(job));
                }
            };
            workers.threads.push(thread::Builder::new().name(name.to_owned()).spawn(run)?);
        }
        Ok(workers)
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Hands the job back when as many are under way as there may be.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), Job> {
        if self.under_way == self.under_way_max {
            return Err(job);
        }
        self.under_way += 1;
        self.shared.queue().waiting.push_back(job);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Adds the results since the last call.
    pub(crate) fn poll(&mut self, done: &mut Vec<Done>) {
        let mut new = mem::take(&mut *self.shared.done());
        self.under_way -= new.len();
        done.append(&mut new);
    }

    /// Whether `poll` has something to add. If not, the waker is called once it has.
    pub(crate) fn has_results(&self) -> bool {
        !self.shared.done().is_empty()
    }
}

impl<Job, Done> Shared<Job, Done> {
    fn next(&self) -> Option<Job> {
        let queue = self.filled.wait_while(self.queue(), |queue| queue.waiting.is_empty() && !queue.is_over);
        queue.expect("no code under this lock panics").waiting.pop_front()
    }

    fn finish(&self, result: Done) {
        let mut done = self.done();
        done.push(result);
        let is_first = done.len() == 1;
        drop(done);
        if is_first {
            self.waker.wake_by_ref();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<Job>> {
        self.queue.lock().expect("no code under this lock panics")
    }

    fn done(&self) -> MutexGuard<'_, Vec<Done>> {
        self.done.lock().expect("no code under this lock panics")
    }
}

impl<Job, Done> Drop for Workers<Job, Done> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_over = true;
        let unbegun = mem::take(&mut queue.waiting);
        drop(queue);
        // Foreign code: not under the lock.
        drop(unbegun);
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            // A job that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    /// Far more than three jobs take.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Bell(Sender<()>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            // Nobody listens in a test that has seen enough.
            let _ = self.0.send(());
        }
    }

    /// One thread that doubles numbers, and the test's side of it.
    struct Doubling {
        workers: Workers<u32, u32>,
        /// Each job waits for a word, or for the end of this.
        gate: Sender<()>,
        /// Each job says when it begins: those before it are over.
        begun: Receiver<u32>,
        rings: Receiver<()>,
    }

    fn doubling(under_way_max: usize) -> Doubling {
        let (gate, held): (_, Receiver<()>) = channel();
        let (begins, begun) = channel();
        let work = move |job| {
            let _ = begins.send(job);
            let _ = held.recv();
            job * 2
        };
        let (bell, rings) = channel();
        let waker = Waker::from(Arc::new(Bell(bell)));
        let workers = Workers::start("doubling", vec![work], under_way_max, waker).expect("a thread is free");
        Doubling { workers, gate, begun, rings }
    }

    /// So many results, each woken for.
    fn wait_for(workers: &mut Workers<u32, u32>, rings: &Receiver<()>, count: usize) -> Vec<u32> {
        let mut done = Vec::new();
        while done.len() < count {
            rings.recv_timeout(PATIENCE).expect("a result wakes");
            workers.poll(&mut done);
        }
        done
    }

    #[test]
    fn jobs_beyond_the_bound_come_back_until_a_result_was_taken() {
        let Doubling { mut workers, gate, begun: _begun, rings } = doubling(2);
        assert_eq!((workers.submit(1), workers.submit(2), workers.submit(3)), (Ok(()), Ok(()), Err(3)));
        gate.send(()).expect("it waits for that");
        assert_eq!(wait_for(&mut workers, &rings, 1), [2]);
        assert_eq!((workers.submit(3), workers.submit(4)), (Ok(()), Err(4)));
        drop(gate);
        assert_eq!(wait_for(&mut workers, &rings, 2), [4, 6]);
    }

    #[test]
    fn the_reactor_is_woken_once_for_all_that_it_has_not_taken() {
        let Doubling { mut workers, gate, begun, rings } = doubling(3);
        (1..4).for_each(|job| workers.submit(job).expect("within the bound"));
        assert!(!workers.has_results());
        (1..3).for_each(|_| gate.send(()).expect("it waits for that"));
        while begun.recv_timeout(PATIENCE).expect("the third begins") != 3 {}
        assert!(workers.has_results());
        assert_eq!(wait_for(&mut workers, &rings, 2), [2, 4]);
        assert!(rings.try_recv().is_err() && !workers.has_results(), "it rang for each");
        drop(gate);
        assert_eq!(wait_for(&mut workers, &rings, 1), [6]);
    }

    #[test]
    fn what_has_not_begun_when_the_workers_go_is_dropped() {
        let (begins, begun) = channel();
        let (gate, held): (Sender<()>, Receiver<()>) = channel();
        let work = move |job: Arc<()>| {
            let _ = begins.send(());
            let _ = held.recv();
            drop(job);
        };
        let mut workers = Workers::start("held", vec![work], 9, Waker::noop().clone()).expect("a thread is free");
        let job = Arc::new(());
        (0..9).for_each(|_| workers.submit(Arc::clone(&job)).expect("within the bound"));
        begun.recv_timeout(PATIENCE).expect("the first begins");
        let ends = thread::spawn(move || drop(workers));
        while Arc::strong_count(&job) > 2 {
            thread::yield_now();
        }
        drop(gate);
        ends.join().expect("dropping does not panic");
        assert_eq!((begun.try_recv().is_err(), Arc::strong_count(&job)), (true, 1));
    }
}
