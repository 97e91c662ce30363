//! a saga: a transaction over services, undone step by step

use futures::FutureExt;

use crate::app::learn::{Found, Lesson, Place, place::need, place::said};

pub(in crate::app::learn) const LESSON: Lesson = Lesson {
    name: "saga",
    title: "a saga: a transaction over services, undone step by step",
    text: "\
Services share no transaction. A saga is a list of steps, each with what undoes it: where a step fails, the steps before it
are compensated, in reverse. It is never as if nothing had happened: the order was there, and was cancelled.

Run an order whose payment is declined, and look at what was done and undone.",
    commands: &[
        "kafkalab saga run --fail-at 2 --order trip-1",
        "kafkalab saga show trip-1",
    ],
    hint: "step 2 is ProcessPayment: `kafkalab saga run --fail-at 2`",
    learned: "COMPENSATED is an end like COMPLETED: all that was done is undone",
    check: |place| check(place).boxed(),
};

async fn check(place: &Place) -> Found {
    use crate::{app::saga, patterns::saga::Status};
    let store = place.open().await?;
    let sagas = saga::list(&store, "", 100).await.map_err(said)?;
    let undone = sagas.iter().filter(|saga| saga.status == Status::Compensated).count();
    need(undone > 0, &format!("of {} sagas none was compensated", sagas.len()))?;
    Ok(format!("{undone} saga compensated"))
}
