//! Which connections are due a write, and whose turn is next.
//!
//! Ten thousand writes take the better part of 0.1 s. So they are done in slices, and what only few
//! are due, a reply or an entry of a small channel, does not wait for the slices of a large one.
//! The order of one connection's bytes is its socket's affair and does not depend on this.
//!
//! # Invariants
//!
//! - **None forgotten**: a connection whose [`Due`] is not `No` is in the list of that name.
//! - **Nobody starves**: every turn takes a slice of each list.

use std::collections::VecDeque;

use seriatim_engine::ids::ConnectionId;

/// Writes of one slice: some 2 ms. A frame for up to so many connections is one for few.
pub(crate) const SLICE: usize = 256;

/// Whether a connection is due a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Due {
    #[default]
    No,
    /// Together with very many others.
    Later,
    Soon,
}

/// The connections that are due a write, the longest waiting first.
#[derive(Debug, Default)]
pub(crate) struct DueList {
    soon: VecDeque<ConnectionId>,
    /// May hold connections that have been written to `soon`er, and some twice.
    later: VecDeque<ConnectionId>,
}

impl DueList {
    /// `connection`, which was `due`, is due what goes to `count` connections.
    pub(crate) fn add(&mut self, connection: ConnectionId, due: &mut Due, count: usize) {
        match (*due, count <= SLICE) {
            (Due::Soon, _) | (Due::Later, false) => {}
            (Due::No | Due::Later, true) => {
                *due = Due::Soon;
                self.soon.push_back(connection);
            }
            (Due::No, false) => {
                *due = Due::Later;
                self.later.push_back(connection);
            }
        }
    }

    /// Gives those whose turn it is to `write`, which says whether the connection was due what it
    /// is asked for, and makes it `Due::No`.
    pub(crate) fn take_slices(&mut self, mut write: impl FnMut(ConnectionId, Due) -> bool) {
        for (list, due) in [(&mut self.soon, Due::Soon), (&mut self.later, Due::Later)] {
            let mut written = 0;
            while written < SLICE {
                let Some(connection) = list.pop_front() else { break };
                written += usize::from(write(connection, due));
            }
            if list.is_empty() && list.capacity() > SLICE {
                *list = VecDeque::new();
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.soon.is_empty() && self.later.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MANY: usize = SLICE + 1;

    #[derive(Default)]
    struct Writes {
        list: DueList,
        due: BTreeMap<ConnectionId, Due>,
    }

    impl Writes {
        fn add(&mut self, number: u64, count: usize) {
            let connection = ConnectionId(number);
            self.list.add(connection, self.due.entry(connection).or_default(), count);
        }

        /// Who is written to in one turn.
        fn turn(&mut self) -> Vec<u64> {
            let mut written = Vec::new();
            self.list.take_slices(|connection, asked| {
                let due = self.due.get_mut(&connection).unwrap();
                let is_due = *due == asked;
                if is_due {
                    *due = Due::No;
                    written.push(connection.0);
                }
                is_due
            });
            written
        }
    }

    #[test]
    fn what_few_are_due_goes_before_what_many_are() {
        let mut writes = Writes::default();
        let many = 3 * SLICE as u64;
        for number in 0..many {
            writes.add(number, MANY);
        }
        assert_eq!(writes.turn(), (0..SLICE as u64).collect::<Vec<_>>());
        // One that waits for its slice, and one that doesn't.
        writes.add(many - 1, 1);
        writes.add(many + 7, SLICE);
        let turn = writes.turn();
        assert_eq!(turn.get(..3), Some([many - 1, many + 7, SLICE as u64].as_slice()));
        assert_eq!(turn.len(), SLICE + 2, "a slice of the many, and the few");
        assert_eq!(writes.turn().last(), Some(&(many - 2)), "nobody twice");
        assert!(writes.list.is_empty());
        assert!(writes.due.values().all(|due| *due == Due::No));
    }

    #[test]
    fn few_who_are_always_due_starve_nobody_and_leave_nothing_behind() {
        let mut writes = Writes::default();
        for number in 0..2 * SLICE as u64 {
            writes.add(number, MANY);
        }
        let mut written = 0;
        for _ in 0..100 {
            for number in 10_000..10_000 + 2 * SLICE as u64 {
                writes.add(number, 1);
            }
            // Again due with the many, though it was written to meanwhile.
            writes.add(0, 1);
            writes.add(0, MANY);
            written += writes.turn().iter().filter(|number| **number < 10_000).count();
            writes.add(0, MANY);
        }
        assert!(written >= 2 * SLICE, "{written}");
        assert!(writes.list.later.len() <= 100 && writes.list.soon.len() <= 2 * SLICE);
    }
}
