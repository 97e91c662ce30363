//! Commands that were refused, by their ids. One that was taken needs no row: it has its events.

use super::{
    Store, StoreError,
    sql::{Access, Row},
    writer::check_name,
};

/// The answer to a command that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCommand {
    pub order_id: String,
    pub code: String,
    pub reason: String,
}

const REFUSE: &str = "
    INSERT INTO refused_commands (command_id, order_id, code, reason, refused_at_ms) VALUES ($1, $2, $3, $4, now_ms())
    ON CONFLICT (command_id) DO UPDATE SET command_id = excluded.command_id RETURNING order_id, code, reason";
const REFUSED: &str = "SELECT order_id, code, reason FROM refused_commands WHERE command_id = $1";

impl Store {
    /// Keeps the answer, unless the command has one: then it gives that.
    pub async fn refuse_command(&self, id: &str, answer: &RefusedCommand) -> Result<RefusedCommand, StoreError> {
        check_name("a command", id).map_err(StoreError::Invalid)?;
        let values =
            [id.into(), answer.order_id.as_str().into(), answer.code.as_str().into(), answer.reason.as_str().into()];
        let row = self.database().row(Access::Write, REFUSE, values).await?;
        row.map_or_else(|| Ok(answer.clone()), refused)
    }

    /// The answer to a command that was refused before.
    pub async fn refused_command(&self, id: &str) -> Result<Option<RefusedCommand>, StoreError> {
        self.database().row(Access::Read, REFUSED, [id.into()]).await?.map(refused).transpose()
    }
}

fn refused(mut row: Row) -> Result<RefusedCommand, StoreError> {
    Ok(RefusedCommand { order_id: row.take_text(0)?, code: row.take_text(1)?, reason: row.take_text(2)? })
}
