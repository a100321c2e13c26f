//! A job's token: who shows it may read the job's partitions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sluice_protocol::{Incarnation, JobId, Lane, NodeId, PartitionId, Ticket};
use zeroize::Zeroizing;

use crate::sync::lock;

/// What all workers of a job know, and nobody else. It never goes over the network: a consumer shows a ticket, which
/// proves that it knows the token and is good for one subpartition in one session.
#[derive(Clone)]
pub struct JobToken(Arc<Zeroizing<Vec<u8>>>);

/// A token that could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job token of {bytes} bytes: at least {} random ones are needed", JobToken::BYTES_MIN)]
pub struct TokenTooShort {
    /// How many it has.
    pub bytes: usize,
}

impl JobToken {
    /// Shorter ones can be found by trying.
    pub const BYTES_MIN: usize = 16;

    /// A token as it is. It should be random, and another for each job.
    pub fn new(bytes: &[u8]) -> Result<Self, TokenTooShort> {
        if bytes.len() < Self::BYTES_MIN {
            return Err(TokenTooShort { bytes: bytes.len() });
        }
        Ok(Self(Arc::new(Zeroizing::new(bytes.to_vec()))))
    }

    fn mac(&self, request: &Request) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"sluice request");
        for number in [
            request.consumer.0.0,
            request.consumer.1.0,
            request.producer.0.0,
            request.producer.1.0,
            request.session,
            request.lane.0.into(),
            request.partition.job.0,
            request.partition.partition,
            request.partition.attempt.into(),
            request.subpartition.into(),
        ] {
            mac.update(&number.to_le_bytes());
        }
        mac
    }
}

impl fmt::Debug for JobToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobToken(..)")
    }
}

/// What a ticket is good for. Both ends know all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) consumer: (NodeId, Incarnation),
    pub(crate) producer: (NodeId, Incarnation),
    pub(crate) session: u64,
    pub(crate) lane: Lane,
    pub(crate) partition: PartitionId,
    pub(crate) subpartition: u32,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoTicket,
    WrongTicket,
}

impl Refusal {
    /// For metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoTicket => "no_token",
            Self::WrongTicket => "wrong_token",
        }
    }

    pub(crate) fn text(self, job: JobId) -> String {
        match self {
            Self::NoTicket => format!("job {job} has a token, and the consumer's worker does not show it"),
            Self::WrongTicket => format!("job {job} has another token than the consumer's worker shows"),
        }
    }
}

/// The tokens that a worker knows.
#[derive(Debug, Default)]
pub(crate) struct JobTokens(Mutex<HashMap<JobId, JobToken>>);

impl JobTokens {
    pub(crate) fn set(&self, job: JobId, token: JobToken) {
        lock(&self.0).insert(job, token);
    }

    pub(crate) fn forget(&self, job: JobId) {
        lock(&self.0).remove(&job);
    }

    fn of(&self, job: JobId) -> Option<JobToken> {
        lock(&self.0).get(&job).cloned()
    }

    /// What to show with a request.
    pub(crate) fn ticket(&self, request: &Request) -> Ticket {
        let Some(token) = self.of(request.partition.job) else { return Ticket::NONE };
        let mut ticket = Ticket::NONE;
        ticket.0.copy_from_slice(&token.mac(request).finalize().into_bytes()[..16]);
        ticket
    }

    /// Whether a request may be served. Takes the same time wherever the difference is.
    pub(crate) fn check(&self, request: &Request, ticket: Ticket) -> Result<(), Refusal> {
        match self.of(request.partition.job) {
            None => Ok(()),
            Some(_) if ticket == Ticket::NONE => Err(Refusal::NoTicket),
            Some(token) => token.mac(request).verify_truncated_left(&ticket.0).map_err(|_| Refusal::WrongTicket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            consumer: (NodeId(1), Incarnation(10)),
            producer: (NodeId(2), Incarnation(20)),
            session: 3,
            lane: Lane(0),
            partition: PartitionId { job: JobId(7), partition: 4, attempt: 0 },
            subpartition: 5,
        }
    }

    fn tokens(byte: u8) -> JobTokens {
        let tokens = JobTokens::default();
        tokens.set(JobId(7), JobToken::new(&[byte; 32]).expect("long enough"));
        tokens
    }

    #[test]
    fn a_ticket_is_good_for_one_subpartition_in_one_session() {
        let ticket = tokens(1).ticket(&request());
        assert_eq!(tokens(1).check(&request(), ticket), Ok(()));
        let partition = request().partition;
        for other in [
            Request { consumer: (NodeId(9), Incarnation(10)), ..request() },
            Request { consumer: (NodeId(1), Incarnation(11)), ..request() },
            Request { producer: (NodeId(9), Incarnation(20)), ..request() },
            Request { producer: (NodeId(2), Incarnation(21)), ..request() },
            Request { session: 4, ..request() },
            Request { lane: Lane(1), ..request() },
            Request { partition: PartitionId { partition: 5, ..partition }, ..request() },
            Request { partition: PartitionId { attempt: 1, ..partition }, ..request() },
            Request { subpartition: 6, ..request() },
        ] {
            assert_eq!(tokens(1).check(&other, ticket), Err(Refusal::WrongTicket), "{other:?}");
        }
    }

    #[test]
    fn another_token_or_none_is_refused_and_a_job_without_one_asks_for_none() {
        assert_eq!(tokens(1).check(&request(), tokens(2).ticket(&request())), Err(Refusal::WrongTicket));
        assert_eq!(tokens(1).check(&request(), Ticket::NONE), Err(Refusal::NoTicket));
        assert_eq!(JobTokens::default().check(&request(), tokens(2).ticket(&request())), Ok(()));
        assert_eq!(JobTokens::default().ticket(&request()), Ticket::NONE);
    }

    #[test]
    fn nothing_shows_a_token() {
        assert_eq!(
            format!("{:?}", tokens(b'x')),
            "JobTokens(Mutex { data: {JobId(7): JobToken(..)}, poisoned: false, .. })"
        );
        assert_eq!(JobToken::new(b"short").err(), Some(TokenTooShort { bytes: 5 }));
    }
}
