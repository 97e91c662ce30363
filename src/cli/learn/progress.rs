//! What is done, as lines of a file in the user's data folder. Without a folder, or with one that can only be read, it is
//! known as long as this process lives.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{app::learn::LESSONS, cli::session::Session};

pub struct Progress {
    file: Option<PathBuf>,
    done: BTreeSet<String>,
}

impl Progress {
    /// A file that cannot be read is one in which nothing stands.
    pub fn load(session: &Session) -> Self {
        let file = session.data_folder.as_ref().map(|folder| folder.join("learned.txt"));
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let done = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        Self { file, done }
    }

    pub fn is_done(&self, lesson: &str) -> bool {
        self.done.contains(lesson)
    }

    /// Keeps it, or says why it is not kept.
    pub fn add(&mut self, lesson: &str, session: &Session) {
        self.done.insert(lesson.to_owned());
        let Some(file) = &self.file else {
            return session.say("not kept: there is no HOME and no XDG_DATA_HOME to keep it in");
        };
        let text: String = self.done.iter().map(|name| format!("{name}\n")).collect();
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = made.and_then(|()| fs::write(file, text)) {
            session.say(&format!("not kept in {}: {error}", file.display()));
        }
    }

    /// The first lesson that is not done.
    pub fn next_words(&self) -> String {
        match LESSONS.iter().find(|lesson| !self.is_done(lesson.name)) {
            Some(lesson) => format!("next: kafkalab learn {}", lesson.name),
            None => "all lessons are done; `kafkalab saga run --fail-at 3 --fault crash` is a good one to go on with"
                .to_owned(),
        }
    }
}
