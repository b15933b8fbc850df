//! Loopback ports that stay ours while the server behind them is dead.
//!
//! A port chosen by the system could be taken by anyone while the server is down between a kill and a restart, most likely by a
//! client's own outgoing connection. So ports are taken from below the range that systems use for those, and each is reserved by
//! binding the UDP port of the same number, which no nats-server uses: other managed servers, in whatever process, see it is
//! taken. The reservation ends with the process.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;

use super::error::Error;

/// Below 32768, where Linux begins to hand out ports to outgoing connections (macOS and Windows: 49152).
const RANGE: Range<u16> = 20_000..32_000;

/// Enough to find a free port on a machine where nearly all are taken, and no endless loop where all are.
const TRIES_MAX: u32 = 1_000;

/// A port on loopback that no other managed server will choose while this value lives.
#[derive(Debug)]
pub(super) struct Reserved {
    number: u16,
    /// Held, never read: its being bound is the reservation.
    _reservation: UdpSocket,
}

impl Reserved {
    /// A free port, chosen at random so that servers started together rarely try the same.
    pub(super) fn choose() -> Result<Self, Error> {
        (0..TRIES_MAX)
            .find_map(|_| Self::try_number(random_number()))
            .ok_or(Error::NoFreePort { tried: TRIES_MAX })
    }

    fn try_number(number: u16) -> Option<Self> {
        let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // Someone else's server may listen there; the listener is closed at once to make room for ours.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _reservation: reservation,
        })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

fn random_number() -> u16 {
    let width = u64::from(RANGE.end - RANGE.start);
    let offset = RandomState::new().hash_one(0) % width;
    RANGE.start + u16::try_from(offset).expect("the range is narrower than all ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_chosen_again_until_it_is_given_back() {
        let first = Reserved::choose().unwrap();
        let number = first.number();
        assert!(Reserved::try_number(number).is_none());
        drop(first);
        assert!(Reserved::try_number(number).is_some());
    }

    #[test]
    fn a_port_someone_listens_on_is_passed_over() {
        let reserved = Reserved::choose().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, reserved.number())).unwrap();
        let number = reserved.number();
        drop(reserved);
        assert!(Reserved::try_number(number).is_none());
        drop(listener);
    }
}
