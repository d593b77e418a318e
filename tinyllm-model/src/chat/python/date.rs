//! `strftime_now(format)`: the date that templates tell a model.

use jiff::Zoned;
use minijinja::{Error, ErrorKind};

/// The longest format, in bytes; what it makes may be some dozens of times longer.
const MAX_FORMAT_BYTES: usize = 1000;

/// Now, in local time, as C's `strftime` prints it in the C locale.
pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    let problem =
        |problem: String| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {problem}"));
    if format.len() > MAX_FORMAT_BYTES {
        return Err(problem(format!("a format of more than {MAX_FORMAT_BYTES} bytes")));
    }
    // A width is a number in the format, and may ask for any amount of zeros.
    if format.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 2) {
        return Err(problem("a width of more than two digits".into()));
    }
    jiff::fmt::strtime::format(format, &Zoned::now()).map_err(|error| problem(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the C library's own.
    #[test]
    fn dates_are_those_of_date() {
        let formats = ["%d %b %Y", "%B %-d, %Y", "%A %Y-%m-%d", "%y %e %j %p %I %%", "%H:%M"];
        for format in formats {
            let expected = || {
                let run =
                    std::process::Command::new("date").arg(format!("+{format}")).env("LC_ALL", "C").output();
                String::from_utf8(run.unwrap().stdout).unwrap().trim_end_matches('\n').to_owned()
            };
            let (before, found, after) = (expected(), strftime_now(format).unwrap(), expected());
            assert!(found == before || found == after, "{format}: {found}, not {before}");
        }
        assert!(strftime_now("%999d").is_err());
        assert!(strftime_now(&"x".repeat(2000)).is_err());
    }
}
