//! `printf` in kernels: what `vprintf` is given, formatted as C does.

use super::{
    Fault,
    context::{Context, Culprit},
    transfer::lanes_of,
    undefined::{Unwritten, Use},
    warp::Warp,
};
use crate::{
    memory::LOCAL_WINDOW,
    report::{Access, Kind, MemorySpace},
};

/// Bytes of a format or a text that are read at most.
const MAX_TEXT: u64 = 1 << 14;

impl Context<'_> {
    /// Prints for each lane. `format` and `arguments` are the places in local memory of the two pointers, `result` that of the number of
    /// values printed.
    pub(super) fn print(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        format: u32,
        arguments: u32,
        result: Option<u32>,
        pc: u32,
    ) -> Result<(), Fault> {
        for lane in lanes_of(mask) {
            let pointer = |at: u32| {
                let start = lane * warp.local.of_thread as usize + at as usize;
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&warp.local.bytes.as_slice()[start..start + 8]);
                u64::from_le_bytes(bytes)
            };
            // Before anything is read through them.
            self.printed_unwritten(warp, pc, lane, LOCAL_WINDOW + u64::from(format), 8);
            self.printed_unwritten(warp, pc, lane, LOCAL_WINDOW + u64::from(arguments), 8);
            let (format, arguments) = (pointer(format), pointer(arguments));
            let mut values = Values { at: arguments, taken: Vec::new(), texts: Vec::new() };
            let line = self.line(warp, lane, format, &mut values);
            for (at, bytes) in &values.taken {
                self.printed_unwritten(warp, pc, lane, *at, *bytes);
            }
            for (start, bytes) in &values.texts {
                let missing = (*start..start + bytes).find(|at| !self.is_written(warp, lane, *at, 1));
                missing.into_iter().for_each(|at| self.printed_unwritten(warp, pc, lane, at, 1));
            }
            self.printed.extend_from_slice(&line?);
            if let Some(result) = result {
                let start = lane * warp.local.of_thread as usize + result as usize;
                warp.local.bytes.as_mut_slice()[start..start + 4]
                    .copy_from_slice(&(values.taken.len() as u32).to_le_bytes());
                warp.local.write(lane, u64::from(result), 4);
            }
        }
        Ok(())
    }

    /// What a lane prints. What was read for it is noted, whether all of it could be or not.
    fn line(&self, warp: &Warp, lane: usize, format: u64, values: &mut Values) -> Result<Vec<u8>, Fault> {
        let format = self.text(warp, lane, format, MAX_TEXT, values)?;
        let mut line = Vec::with_capacity(format.len());
        let mut rest = format.as_slice();
        while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
            line.extend_from_slice(&rest[..percent]);
            rest = &rest[percent + 1..];
            let (spec, length) = Spec::parse(rest);
            rest = &rest[length..];
            self.print_value(warp, lane, &spec, values, &mut line)?;
        }
        line.extend_from_slice(rest);
        Ok(line)
    }

    /// Reports bytes at a generic address if nobody wrote them all.
    fn printed_unwritten(&mut self, warp: &Warp, pc: u32, lane: usize, at: u64, bytes: u64) {
        if !self.launch.check.initcheck || self.is_written(warp, lane, at, bytes) {
            return;
        }
        let is_missing = |byte: &u64| !self.is_written(warp, lane, at + byte, 1);
        let missing = (0..bytes).filter(is_missing).fold(0u32, |missing, byte| missing | 1 << byte);
        let first = u64::from(missing.trailing_zeros());
        let offset = at & (LOCAL_WINDOW - 1);
        let is_local = at - offset == LOCAL_WINDOW;
        let (space, start) = if is_local { (MemorySpace::Local, offset) } else { (MemorySpace::Global, at) };
        let culprit = Culprit {
            kind: Kind::Uninitialized,
            pc,
            warp: warp.index,
            lane,
            access: Access::Read,
            space,
            address: start,
            bytes,
        };
        let stored_by = if is_local { warp.local.undefined_store(lane, offset + first) } else { None };
        let unwritten = Unwritten { culprit, missing, address: start + first, stored_by };
        let used = Use { pc, warp: warp.index, how: "given to printf" };
        self.find_unwritten(&unwritten, Some((used, lane)));
    }

    /// Whether bytes at a generic address are all written, as far as they are of any memory.
    fn is_written(&self, warp: &Warp, lane: usize, at: u64, bytes: u64) -> bool {
        let offset = at & (LOCAL_WINDOW - 1);
        if at - offset == LOCAL_WINDOW {
            return !warp.local.contains(lane, offset, bytes) || warp.local.is_written(lane, offset, bytes);
        }
        let region = self.launch.find(at, bytes);
        region
            .is_none_or(|region| region.bytes.written().contains(region.offset + (at - region.start), bytes))
    }

    fn print_value(
        &self,
        warp: &Warp,
        lane: usize,
        spec: &Spec,
        values: &mut Values,
        line: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let text = match spec.conversion {
            b'%' => "%".to_owned(),
            b'd' | b'i' => {
                let value = match spec.long {
                    true => self.word(warp, lane, values.next(8), 8)? as i64,
                    false => i64::from(self.word(warp, lane, values.next(4), 4)? as i32),
                };
                spec.signed(value < 0, spec.digits(value.unsigned_abs().to_string()))
            }
            b'u' | b'x' | b'X' | b'o' | b'p' => {
                let long = spec.long || spec.conversion == b'p';
                let bytes = if long { 8 } else { 4 };
                let value = self.word(warp, lane, values.next(bytes), bytes)?;
                match spec.conversion {
                    b'u' => spec.digits(value.to_string()),
                    b'o' => spec.digits(format!("{value:o}")),
                    b'X' => spec.digits(format!("{value:X}")),
                    b'p' => format!("{value:#x}"),
                    _ if spec.alternate && value != 0 => format!("0x{}", spec.digits(format!("{value:x}"))),
                    _ => spec.digits(format!("{value:x}")),
                }
            }
            b'c' => {
                let value = self.word(warp, lane, values.next(4), 4)? as u8;
                spec.padded(&[value], line);
                return Ok(());
            }
            b's' => {
                let address = self.word(warp, lane, values.next(8), 8)?;
                let most = spec.precision.map_or(MAX_TEXT, |precision| precision as u64);
                let text = self.text(warp, lane, address, most.min(MAX_TEXT), values)?;
                spec.padded(&text, line);
                return Ok(());
            }
            b'f' | b'F' | b'e' | b'E' | b'g' | b'G' | b'a' | b'A' => {
                let value = f64::from_bits(self.word(warp, lane, values.next(8), 8)?);
                spec.signed(value.is_sign_negative() && !value.is_nan(), spec.float(value.abs()))
            }
            // As C libraries do with what they do not know: it is printed as it stands.
            other => String::from_utf8_lossy(&[b'%', other]).into_owned(),
        };
        spec.padded(text.as_bytes(), line);
        Ok(())
    }

    /// A text of the program that the driver prints.
    pub(super) fn plain_text(&self, warp: &Warp, lane: usize, address: u64) -> Result<String, Fault> {
        let mut values = Values { at: 0, taken: Vec::new(), texts: Vec::new() };
        let text = self.text(warp, lane, address, MAX_TEXT, &mut values)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A text that ends with 0 or after `most` bytes, from wherever it lies.
    fn text(
        &self,
        warp: &Warp,
        lane: usize,
        address: u64,
        most: u64,
        values: &mut Values,
    ) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        for at in 0..most {
            match self.word(warp, lane, address.wrapping_add(at), 1)? as u8 {
                0 => break,
                byte => text.push(byte),
            }
        }
        let bytes = (text.len() as u64 + 1).min(most);
        values.texts.push((address, bytes));
        Ok(text)
    }

    /// Bytes at a generic address, which the program made for `printf`: global or the thread's own.
    fn word(&self, warp: &Warp, lane: usize, address: u64, bytes: u64) -> Result<u64, Fault> {
        let mut value = [0; 8];
        let out = &mut value[..bytes as usize];
        if address & !(LOCAL_WINDOW - 1) == LOCAL_WINDOW {
            let offset = address & (LOCAL_WINDOW - 1);
            if !warp.local.contains(lane, offset, bytes) {
                return Err(Fault::ILLEGAL_ADDRESS);
            }
            let start = lane * warp.local.of_thread as usize + offset as usize;
            out.copy_from_slice(&warp.local.bytes.as_slice()[start..start + bytes as usize]);
        } else {
            let region = self.launch.find(address, bytes).ok_or(Fault::ILLEGAL_ADDRESS)?;
            region.bytes.read_beside(region.offset + (address - region.start), out);
        }
        Ok(u64::from_le_bytes(value))
    }
}

/// Where the next argument is: each is aligned to its size.
struct Values {
    at: u64,
    /// Address and bytes of those that were had.
    taken: Vec<(u64, u64)>,
    /// The same for texts, the format first.
    texts: Vec<(u64, u64)>,
}

impl Values {
    fn next(&mut self, bytes: u64) -> u64 {
        let at = self.at.next_multiple_of(bytes);
        self.taken.push((at, bytes));
        self.at = at + bytes;
        at
    }
}

/// What stands after a `%`.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    long: bool,
    conversion: u8,
}

impl Spec {
    /// Reads it, and how many bytes it takes.
    fn parse(text: &[u8]) -> (Self, usize) {
        let mut spec = Spec { conversion: b'%', ..Spec::default() };
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        let mut at = 0;
        loop {
            match byte(at) {
                b'-' => spec.left = true,
                b'0' => spec.zero = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                _ => break,
            }
            at += 1;
        }
        let number = |at: &mut usize| {
            let mut value = 0usize;
            while byte(*at).is_ascii_digit() {
                value = value.saturating_mul(10).saturating_add(usize::from(byte(*at) - b'0'));
                *at += 1;
            }
            value.min(4096)
        };
        spec.width = number(&mut at);
        if byte(at) == b'.' {
            at += 1;
            spec.precision = Some(number(&mut at));
        }
        while matches!(byte(at), b'h' | b'l' | b'z' | b'j' | b't' | b'L') {
            spec.long |= byte(at) != b'h';
            at += 1;
        }
        spec.conversion = byte(at);
        (spec, (at + 1).min(text.len()))
    }

    /// At least as many digits as the precision.
    fn digits(&self, digits: String) -> String {
        format!("{digits:0>width$}", width = self.precision.unwrap_or(1))
    }

    /// With its sign, and zeros between it and the digits where they are asked for.
    fn signed(&self, negative: bool, digits: String) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let is_float = !matches!(self.conversion, b'd' | b'i');
        let width = match self.zero && !self.left && (is_float || self.precision.is_none()) {
            true => self.width.saturating_sub(sign.len()),
            false => 0,
        };
        format!("{sign}{digits:0>width$}")
    }

    /// A number that has no sign.
    fn float(&self, value: f64) -> String {
        let precision = self.precision.unwrap_or(6);
        if !value.is_finite() {
            return if value.is_nan() { "nan".into() } else { "inf".into() };
        }
        match self.conversion.to_ascii_lowercase() {
            b'e' => exponent(value, precision),
            b'g' => {
                let digits = precision.max(1);
                let scientific = exponent(value, digits - 1);
                let power: i32 =
                    scientific.rsplit('e').next().and_then(|power| power.parse().ok()).unwrap_or(0);
                let text = match power < -4 || power >= digits as i32 {
                    true => scientific,
                    false => format!("{value:.*}", (digits as i32 - 1 - power).max(0) as usize),
                };
                let (number, power) =
                    text.split_once('e').map_or((text.as_str(), None), |(n, p)| (n, Some(p)));
                let number = match number.contains('.') && !self.alternate {
                    true => number.trim_end_matches('0').trim_end_matches('.'),
                    false => number,
                };
                power.map_or_else(|| number.to_owned(), |power| format!("{number}e{power}"))
            }
            _ => format!("{value:.precision$}"),
        }
    }

    fn padded(&self, text: &[u8], line: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(text.len());
        let padding = std::iter::repeat_n(if self.zero && !self.left { b'0' } else { b' ' }, missing);
        if self.left {
            line.extend_from_slice(text);
            line.extend(padding);
        } else {
            line.extend(padding);
            line.extend_from_slice(text);
        }
    }
}

/// `1.5e+00`, as C has it.
fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (number, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!("{number}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a C library prints for a number.
    fn printed(format: &str, value: f64) -> String {
        let (spec, length) = Spec::parse(&format.as_bytes()[1..]);
        assert_eq!(length + 1, format.len());
        let text = match spec.conversion {
            b'd' => spec.signed(value < 0.0, spec.digits((value.abs() as u64).to_string())),
            _ => spec.signed(value.is_sign_negative(), spec.float(value.abs())),
        };
        let mut line = Vec::new();
        spec.padded(text.as_bytes(), &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    #[test]
    fn numbers_as_c_prints_them() {
        for (format, value, expected) in [
            ("%d", -42.0, "-42"),
            ("%5d", 42.0, "   42"),
            ("%-5d", 42.0, "42   "),
            ("%05d", -42.0, "-0042"),
            ("%+d", 42.0, "+42"),
            ("%.4d", 42.0, "0042"),
            ("%lld", 42.0, "42"),
            ("%f", 1.5, "1.500000"),
            ("%.2f", -0.005, "-0.01"),
            ("%8.3f", 2.0, "   2.000"),
            ("%08.3f", -2.0, "-002.000"),
            ("%e", 12_345.678, "1.234568e+04"),
            ("%.1e", 0.000_25, "2.5e-04"),
            ("%g", 0.0001, "0.0001"),
            ("%g", 100_000.0, "100000"),
            ("%g", 1_000_000.0, "1e+06"),
            ("%g", 0.000_012_5, "1.25e-05"),
            ("%.3g", 2.34159, "2.34"),
            ("%f", f64::INFINITY, "inf"),
            ("%f", f64::NAN, "nan"),
        ] {
            assert_eq!(printed(format, value), expected, "{format} of {value}");
        }
    }
}
