//! Accepted connections that have not said who they are: a bound on all of them, and on those of one address.
//!
//! When there are too many, the *oldest* goes, and the newcomer stays. An honest peer needs a few round trips, so who
//! has been there longest without a word is the least likely to be one. To turn newcomers away would let a handful of
//! silent connections lock out every worker behind the same address for as long as a hello may take; to leave them in
//! the kernel's queue, as many would lock out everybody. A flood pays with its own connections: beyond an address's
//! bound they displace each other, and beyond the bound of all it is the address with most that loses one.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use sluice_plugin::LinkId;

pub(crate) struct Strangers {
    all_max: usize,
    per_address_max: usize,
    /// All that the kernel still has something of.
    held: HashMap<LinkId, IpAddr>,
    /// Those that have a place. Links are numbered as they come: the first is the oldest.
    places: HashMap<IpAddr, BTreeSet<LinkId>>,
    taken: usize,
}

/// Who makes room for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    pub(crate) link: LinkId,
    /// Which bound was reached.
    pub(crate) bound: Bound,
}

/// A bound on strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    All,
    Address,
}

impl Strangers {
    pub(crate) fn new(all_max: usize, per_address_max: usize) -> Self {
        let (held, places) = (HashMap::new(), HashMap::new());
        // With no place at all nobody could ever come in.
        Self { all_max: all_max.max(1), per_address_max: per_address_max.max(1), held, places, taken: 0 }
    }

    /// A newcomer; says who makes room for it.
    pub(crate) fn admit(&mut self, link: LinkId, from: IpAddr) -> Option<Displaced> {
        let address = network(from);
        self.held.insert(link, address);
        let of_address = self.places.entry(address).or_default();
        of_address.insert(link);
        self.taken += 1;
        if of_address.len() > self.per_address_max {
            let link = *of_address.first()?;
            self.give_up_place(link);
            return Some(Displaced { link, bound: Bound::Address });
        }
        if self.taken > self.all_max { self.displace() } else { None }
    }

    /// The machine has no room for as many, or this worker; says who goes.
    pub(crate) fn displace(&mut self) -> Option<Displaced> {
        let link = *self.most_of_one_address()?.first()?;
        self.give_up_place(link);
        Some(Displaced { link, bound: Bound::All })
    }

    /// The link is being closed: from now on it takes no place from others.
    pub(crate) fn give_up_place(&mut self, link: LinkId) {
        let Some(address) = self.held.get(&link) else { return };
        let Some(of_address) = self.places.get_mut(address) else { return };
        self.taken -= usize::from(of_address.remove(&link));
        if of_address.is_empty() {
            self.places.remove(address);
        }
    }

    /// The link has said who it is, or is over.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.give_up_place(link);
        self.held.remove(&link);
    }

    /// Connections of strangers that the kernel still has something of.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Of two addresses with as many, the one whose oldest is older: a newcomer never displaces itself.
    fn most_of_one_address(&self) -> Option<&BTreeSet<LinkId>> {
        self.places.values().max_by_key(|of_address| (of_address.len(), std::cmp::Reverse(of_address.first())))
    }
}

/// What counts as one address: an IPv6 host has 2^64 to choose from (RFC 4291, 2.5.4), an IPv4 host one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Strangers 1, 2, … come from these addresses; who goes for each of them.
    fn come(strangers: &mut Strangers, first: u64, from: &[u8]) -> Vec<Option<u64>> {
        let come = |(link, from): (u64, &u8)| strangers.admit(LinkId(link), address(*from)).map(|gone| gone.link.0);
        (first..).zip(from).map(come).collect()
    }

    #[test]
    fn an_address_beyond_its_bound_displaces_its_own_oldest() {
        let mut strangers = Strangers::new(100, 2);
        assert_eq!(come(&mut strangers, 1, &[9, 1, 1, 1, 1, 2]), [None, None, None, Some(2), Some(3), None]);
    }

    #[test]
    fn when_all_places_are_taken_the_address_with_most_loses_its_oldest() {
        let mut strangers = Strangers::new(4, 3);
        assert_eq!(
            come(&mut strangers, 1, &[1, 2, 2, 2, 3, 4, 5]),
            [None, None, None, None, Some(2), Some(3), Some(1)]
        );
    }

    #[test]
    fn where_there_is_no_room_at_all_somebody_goes_without_a_newcomer() {
        let mut strangers = Strangers::new(4, 3);
        assert_eq!(strangers.displace(), None);
        come(&mut strangers, 1, &[1, 2, 2]);
        let gone = [strangers.displace(), strangers.displace()].map(|gone| gone.map(|gone| gone.link.0));
        assert_eq!(gone, [Some(2), Some(1)]);
    }

    #[test]
    fn who_has_introduced_itself_or_is_being_closed_makes_room() {
        let mut strangers = Strangers::new(2, 2);
        assert_eq!(come(&mut strangers, 1, &[1, 1]), [None, None]);
        strangers.forget(LinkId(1));
        strangers.give_up_place(LinkId(2));
        assert_eq!(strangers.held(), 1);
        assert_eq!(come(&mut strangers, 3, &[1, 1, 1]), [None, None, Some(3)]);
    }

    #[test]
    fn an_ipv6_host_has_one_address_and_so_has_an_ipv4_host_that_comes_by_ipv6() {
        let v6 = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(network(v6("2001:db8:1:2:3:4:5:6")), network(v6("2001:db8:1:2::1")));
        assert_ne!(network(v6("2001:db8:1:2::1")), network(v6("2001:db8:1:3::1")));
        assert_eq!(network(v6("::ffff:10.0.0.1")), address(1));
    }
}
