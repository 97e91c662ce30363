//! Where to read from, and up to where.

/// A place in a partition, before a broker has turned it into a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// The first record that the partition still has.
    Start,
    /// Behind the last record (the last stable one, when aborted transactions are hidden).
    End,
    /// This offset.
    At(i64),
    /// So many after [`Offset::Start`].
    AfterStart(i64),
    /// So many before [`Offset::End`].
    BeforeEnd(i64),
    /// The first record whose timestamp is not before this one, in milliseconds since the Unix epoch.
    Timestamp(i64),
    /// Where the group has committed.
    Stored,
}

/// From the first place up to, not including, the second; without a second one the reader follows for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    pub from: Offset,
    pub to: Option<Offset>,
}
