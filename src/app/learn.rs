//! Lessons: a few words, a few commands, and a look at what really happened.
//!
//! A lesson is a file in `lessons/`; its line in [`LESSONS`] makes it one of the course. It is done when its check finds on
//! the broker and in the store what the commands leave there, whoever typed them and in whatever form.

mod lessons;
mod place;

use futures::future::BoxFuture;

pub use self::place::Place;

/// What a check has found: that it is done, and what is seen of it; or what is not there yet.
pub type Found = Result<String, String>;

/// A lesson.
pub struct Lesson {
    pub name: &'static str,
    /// What it teaches, in a line.
    pub title: &'static str,
    /// What to read before typing.
    pub text: &'static str,
    /// What to type, in this order; as it is run by `sh -c`.
    pub commands: &'static [&'static str],
    /// For who is stuck.
    pub hint: &'static str,
    /// What was learned, said when it is done.
    pub learned: &'static str,
    /// Looks, and changes nothing.
    pub check: for<'a> fn(&'a Place) -> BoxFuture<'a, Found>,
}

/// The course, in the order in which it is best taken.
pub const LESSONS: &[Lesson] = &[
    lessons::topic::LESSON,
    lessons::partition::LESSON,
    lessons::key::LESSON,
    lessons::group::LESSON,
    lessons::offset::LESSON,
    lessons::es::LESSON,
    lessons::outbox::LESSON,
    lessons::inbox::LESSON,
    lessons::dlt::LESSON,
    lessons::saga::LESSON,
    lessons::cqrs::LESSON,
    lessons::grpc::LESSON,
];

/// The lesson of this name.
pub fn lesson(name: &str) -> Option<&'static Lesson> {
    LESSONS.iter().find(|lesson| lesson.name == name)
}

/// The lessons whose names are nearest to this one, for "did you mean".
pub fn near(name: &str) -> Vec<String> {
    super::nearest(name, LESSONS.iter().map(|lesson| lesson.name))
}
