//! Progress on stderr: a bar on a terminal, elsewhere a line every 15 seconds.

use std::{
    fmt, io,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// Time between two lines where stderr is no terminal, and before the first.
const BETWEEN_LINES: Duration = Duration::from_secs(15);

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Tokens,
}

/// Progress towards a length that is set when it is known.
pub(crate) fn bar(name: String, unit: Unit) -> ProgressBar {
    let is_terminal = io::stderr().is_terminal();
    let (target, middle) = if is_terminal {
        (ProgressDrawTarget::stderr(), "{wide_bar} ")
    } else {
        let lines = Lines::new(BETWEEN_LINES, Box::new(crate::output::note));
        (ProgressDrawTarget::term_like_with_hz(Box::new(lines), 1), "")
    };
    let counted = match unit {
        Unit::Bytes => "{bytes} of {total_bytes}",
        Unit::Tokens => "{human_pos} of {human_len} tokens",
    };
    let bar = ProgressBar::with_draw_target(Some(0), target).with_message(name);
    match ProgressStyle::with_template(&format!("{{msg}} {middle}{counted}, {{eta}} left")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Progress in bytes.
pub(crate) fn bytes(name: String) -> ProgressBar {
    bar(name, Unit::Bytes)
}

/// Sets length and position. A new length draws at once, positions at a limited rate.
pub(crate) fn advance(bar: &ProgressBar, done: u64, total: u64) {
    if bar.length() != Some(total) {
        bar.set_length(total);
    }
    bar.set_position(done);
}

/// A terminal without a cursor: drawn lines are printed at most once in `every`.
struct Lines {
    every: Duration,
    print: Box<dyn Fn(&str) + Send + Sync>,
    drawing: Mutex<Drawing>,
}

struct Drawing {
    text: String,
    last: Instant,
}

impl Lines {
    fn new(every: Duration, print: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Lines { every, print, drawing: Mutex::new(Drawing { text: String::new(), last: Instant::now() }) }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lines").field("every", &self.every).finish_non_exhaustive()
    }
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        drawing.text.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::mem::take(&mut drawing.text);
        // A cleared bar draws an empty line.
        if !text.trim().is_empty() && drawing.last.elapsed() >= self.every {
            (self.print)(text.trim());
            drawing.last = Instant::now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn lines_of(every: Duration) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let target = Lines::new(every, Box::new(move |line| kept.lock().unwrap().push(line.to_owned())));
        let bar = ProgressBar::with_draw_target(Some(10), ProgressDrawTarget::term_like(Box::new(target)))
            .with_style(ProgressStyle::with_template("{msg} {pos} of {len}").unwrap())
            .with_message("reading");
        bar.set_position(3);
        bar.tick();
        bar.finish_and_clear();
        lines.lock().unwrap().clone()
    }

    #[test]
    fn progress_without_a_terminal_is_whole_lines_now_and_then() {
        let all = lines_of(Duration::ZERO);
        assert!(all.contains(&"reading 3 of 10".to_owned()), "{all:?}");
        assert!(all.iter().all(|line| !line.contains(['\r', '\n', '\x1b'])), "{all:?}");
        assert_eq!(lines_of(Duration::from_secs(3600)), [""; 0]);
    }
}
