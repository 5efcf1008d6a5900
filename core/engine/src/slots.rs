//! Numbers for a gateway's connections, and tables in which what belongs to one is found at once.
//!
//! A [`ConnectionId`] has a place, which is used again when the connection is gone, and a
//! generation, which tells those apart that have had the place. So the places of all connections
//! lie close together: going through thousands of them is going through memory.

use crate::ids::ConnectionId;

/// Gives out connections' numbers.
#[derive(Debug, Default)]
pub struct Numbering {
    /// Numbers that are not in use, the one given back last at the end.
    free: Vec<ConnectionId>,
    /// How many places there are.
    slots: u32,
}

impl Numbering {
    /// A number that was never given out.
    ///
    /// # Panics
    /// More connections are open than a machine could hold.
    pub fn take(&mut self) -> ConnectionId {
        if let Some(connection) = self.free.pop() {
            return connection;
        }
        let connection = ConnectionId::new(self.slots, 0);
        self.slots = self.slots.checked_add(1).expect("fewer connections than file descriptors");
        connection
    }

    /// The connection is gone and nothing will be said of it any more.
    pub fn give_back(&mut self, connection: ConnectionId) {
        let slot = u32::try_from(connection.slot()).expect("made by `take`");
        // A place whose generations are used up is used no more.
        if let Some(generation) = connection.generation().checked_add(1) {
            self.free.push(ConnectionId::new(slot, generation));
        }
    }
}

/// A table with at most one row for each connection.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Option<(ConnectionId, T)>>,
    count: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), count: 0 }
    }
}

impl<T> Slots<T> {
    /// Adds a row; gives the one that had its place, which is the caller's mistake.
    pub fn insert(&mut self, connection: ConnectionId, row: T) -> Option<T> {
        let slot = connection.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let place = self.slots.get_mut(slot).expect("made above");
        let earlier = place.replace((connection, row));
        self.count += usize::from(earlier.is_none());
        earlier.map(|(_, row)| row)
    }

    pub fn get(&self, connection: &ConnectionId) -> Option<&T> {
        match self.slots.get(connection.slot()) {
            Some(Some((id, row))) if id == connection => Some(row),
            Some(_) | None => None,
        }
    }

    pub fn get_mut(&mut self, connection: &ConnectionId) -> Option<&mut T> {
        match self.slots.get_mut(connection.slot()) {
            Some(Some((id, row))) if id == connection => Some(row),
            Some(_) | None => None,
        }
    }

    pub fn remove(&mut self, connection: &ConnectionId) -> Option<T> {
        self.get(connection)?;
        let (_, row) = self.slots.get_mut(connection.slot())?.take()?;
        self.count -= 1;
        Some(row)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In the order of their places.
    pub fn keys(&self) -> impl Iterator<Item = &ConnectionId> {
        self.slots.iter().flatten().map(|(connection, _)| connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_numbers_are_not() {
        let mut numbering = Numbering::default();
        let (first, second) = (numbering.take(), numbering.take());
        assert_eq!((first.slot(), second.slot()), (0, 1));
        numbering.give_back(first);
        let third = numbering.take();
        assert_eq!(third.slot(), 0);
        assert_ne!(third, first);
        assert_eq!(numbering.take().slot(), 2);
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_left_empty() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.take().slot(), 0);
        numbering.give_back(ConnectionId::new(0, u32::MAX));
        assert_eq!(numbering.take().slot(), 1);
    }

    #[test]
    fn a_row_is_not_found_by_the_number_that_had_its_place_before() {
        let (old, new) = (ConnectionId::new(3, 0), ConnectionId::new(3, 1));
        let mut slots = Slots::default();
        assert_eq!(slots.insert(old, "old"), None);
        assert_eq!(slots.remove(&old), Some("old"));
        assert_eq!(slots.insert(new, "new"), None);
        assert_eq!(slots.get(&old), None);
        assert_eq!(slots.get_mut(&old), None);
        assert_eq!(slots.remove(&old), None);
        assert_eq!((slots.get(&new), slots.len()), (Some(&"new"), 1));
        assert_eq!(slots.keys().collect::<Vec<_>>(), [&new]);
    }
}
