//! What is known of the terminal: who looks at which stream, in which colours, how wide.
//!
//! Each stream is judged on its own, because `kafkalab consume orders | less` has a person on stderr alone. Colours
//! are named by what they mean, and never carry a meaning that the words do not.

use std::fmt::Display;
use std::io::{IsTerminal, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{Style, Styled};

use super::{escape, words::folded};

/// The terminal as one run of the program finds it.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// A person types the input.
    pub input: bool,
    pub out: Stream,
    pub err: Stream,
    quiet: bool,
    /// A terminal that cannot move its cursor has no progress bars.
    is_dumb: bool,
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub is_terminal: bool,
    pub palette: Palette,
}

/// Which of the three streams are terminals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams {
    pub input: bool,
    pub out: bool,
    pub err: bool,
}

impl Terminal {
    /// Looks at the process's own streams and environment.
    pub fn detect(no_color: bool, quiet: bool) -> Self {
        let streams = Streams {
            input: std::io::stdin().is_terminal(),
            out: std::io::stdout().is_terminal(),
            err: std::io::stderr().is_terminal(),
        };
        Self::new(streams, no_color, quiet, |name| std::env::var(name).ok())
    }

    /// Colours are off with `--no-color`, with `NO_COLOR` set to anything (<https://no-color.org>), on a dumb terminal,
    /// and on whatever is no terminal.
    pub fn new(streams: Streams, no_color: bool, quiet: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let is_dumb = env("TERM").is_some_and(|term| term == "dumb");
        let plain = no_color || is_dumb || env("NO_COLOR").is_some_and(|value| !value.is_empty());
        let stream = |is_terminal| Stream { is_terminal, palette: Palette { colored: is_terminal && !plain } };
        Self { input: streams.input, out: stream(streams.out), err: stream(streams.err), quiet, is_dumb }
    }

    /// Columns of the terminal behind stdout; `None` where there is none to fit.
    pub fn width(&self) -> Option<usize> {
        let size = if self.out.is_terminal { terminal_size::terminal_size_of(std::io::stdout()) } else { None };
        size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
    }

    /// Rows of the terminal behind stdout.
    pub fn height(&self) -> Option<usize> {
        let size = if self.out.is_terminal { terminal_size::terminal_size_of(std::io::stdout()) } else { None };
        size.map(|(_, height)| usize::from(height.0)).filter(|height| *height > 0)
    }

    /// Whether what stands on stdout can be drawn over.
    pub fn redraws(&self) -> bool {
        self.out.is_terminal && !self.is_dumb
    }

    /// Only the outcome is wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line for a person, on stderr. Quiet runs say nothing.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let text = self.on_stderr(&escape::text(text));
            let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
        }
    }

    /// A next step or a way out, on stderr: `hint: ...`. Quiet runs say nothing.
    pub fn hint(&self, text: &str) {
        if let Some(line) = self.hint_line(text) {
            // Nobody may be there to read it; that is no reason to fail.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn hint_line(&self, text: &str) -> Option<String> {
        (!self.quiet).then(|| format!("{} {}\n", self.err.palette.emphasis("hint:"), escape::text(text)))
    }

    /// Sentences as the terminal behind stderr has room for them. A hint is left in one piece: it is there to be copied, and
    /// what a terminal breaks by itself is one line for it.
    pub fn on_stderr(&self, text: &str) -> String {
        let size = if self.err.is_terminal { terminal_size::terminal_size_of(std::io::stderr()) } else { None };
        let width = size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
        text.split('\n').map(|line| folded(line, width)).collect::<Vec<_>>().join("\n")
    }

    /// A bar on stderr for work of a known size. Where nobody would see it, it is there but draws nothing.
    pub fn bar(&self, what: &'static str, total: u64, unit: Unit) -> ProgressBar {
        self.drawn(ProgressBar::with_draw_target(Some(total), self.target()), what, unit.bar())
    }

    fn drawn(&self, bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.with_style(style.progress_chars("=> ")).with_message(what)
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.draws_bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }

    fn draws_bars(&self) -> bool {
        self.err.is_terminal && !self.quiet && !self.is_dumb
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    Bytes,
    Records,
}

impl Unit {
    fn bar(self) -> &'static str {
        match self {
            Unit::Bytes => "{msg} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  eta {eta}",
            Unit::Records => "{msg} [{bar:30}] {human_pos}/{human_len}  {per_sec}  eta {eta}",
        }
    }
}

/// Colours by meaning, for one stream. Where the stream has none, the text is printed as it is.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    colored: bool,
}

impl Palette {
    /// It went on, but look.
    pub fn warn<T: Display>(&self, text: T) -> Styled<T> {
        self.styled(Style::new().yellow(), text)
    }

    /// It did not work.
    pub fn error<T: Display>(&self, text: T) -> Styled<T> {
        self.styled(Style::new().red().bold(), text)
    }

    /// What the eye should find first.
    pub fn emphasis<T: Display>(&self, text: T) -> Styled<T> {
        self.styled(Style::new().bold(), text)
    }

    fn styled<T: Display>(&self, style: Style, text: T) -> Styled<T> {
        if self.colored { style.style(text) } else { Style::new().style(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Streams = Streams { input: true, out: true, err: true };

    fn terminal(streams: Streams, no_color: bool, env: &[(&str, &str)]) -> Terminal {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Terminal::new(streams, no_color, false, lookup)
    }

    fn is_colored(palette: Palette) -> bool {
        palette.warn("x").to_string() != "x"
    }

    #[test]
    fn each_stream_has_colours_of_its_own() {
        let piped = terminal(Streams { out: false, ..ALL }, false, &[("TERM", "xterm")]);
        assert!(!is_colored(piped.out.palette) && is_colored(piped.err.palette));
        let logged = terminal(Streams { err: false, ..ALL }, false, &[("TERM", "xterm")]);
        assert!(is_colored(logged.out.palette) && !is_colored(logged.err.palette));
    }

    #[test]
    fn colours_can_be_refused() {
        assert!(is_colored(terminal(ALL, false, &[]).out.palette));
        assert!(is_colored(terminal(ALL, false, &[("NO_COLOR", "")]).out.palette));
        assert!(!is_colored(terminal(ALL, false, &[("NO_COLOR", "1")]).out.palette));
        assert!(!is_colored(terminal(ALL, false, &[("TERM", "dumb")]).err.palette));
        assert!(!is_colored(terminal(ALL, true, &[("TERM", "xterm")]).err.palette));
    }

    #[test]
    fn without_colours_the_text_is_the_text() {
        let plain = terminal(Streams::default(), false, &[]).out.palette;
        let all = [plain.warn("a"), plain.error("a"), plain.emphasis("a")];
        assert!(all.iter().all(|styled| styled.to_string() == "a"));
    }

    #[test]
    fn bars_are_drawn_for_a_person_only() {
        assert!(terminal(ALL, true, &[("TERM", "xterm")]).draws_bars());
        assert!(terminal(Streams { out: false, ..ALL }, false, &[]).draws_bars());
        assert!(!terminal(ALL, false, &[("TERM", "dumb")]).draws_bars());
        assert!(!terminal(Streams { err: false, ..ALL }, false, &[]).draws_bars());
        assert!(!Terminal::new(ALL, false, true, |_| None).draws_bars());
        let nobody = terminal(Streams::default(), false, &[]);
        assert!(nobody.bar("sending", 10, Unit::Bytes).is_hidden());
    }

    #[test]
    fn the_templates_of_the_bars_are_well_formed() {
        for unit in [Unit::Bytes, Unit::Records] {
            assert!(ProgressStyle::with_template(unit.bar()).is_ok(), "{}", unit.bar());
        }
    }

    #[test]
    fn a_hint_is_one_marked_line_that_cannot_steer_the_terminal() {
        let plain = terminal(Streams::default(), false, &[]);
        assert_eq!(plain.hint_line("try \x1b[2J").as_deref(), Some("hint: try \\x1b[2J\n"));
        assert_eq!(Terminal::new(ALL, false, true, |_| None).hint_line("x"), None);
    }
}
