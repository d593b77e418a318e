//! Rewrites a template's text so that the engine reads it as jinja2 does.
//!
//! Lines end in LF, literals are Python's, and `{% generation %}`, transformers' block around the assistant's words,
//! becomes a `with` without names: a block that renders what is in it and keeps its variables to itself.

/// The same template for the engine. Lines keep their numbers, but for those that a literal joins.
pub(in crate::chat) fn for_engine(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.as_str();
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let tag = if rest.starts_with("{#") {
            Some(rest.find("#}").map_or(rest.len(), |end| end + 2))
        } else {
            raw_block(rest)
        };
        match tag {
            Some(end) => {
                // Unlike other tags, jinja2's `raw` keeps the line's end after it.
                let close = rest.find("%}").filter(|_| rest.starts_with("{%")).unwrap_or(0);
                out.push_str(&rest[..close]);
                if close > 0 && !rest[..close].ends_with(['-', '+']) {
                    out.push('+');
                }
                out.push_str(&rest[close..end]);
                rest = &rest[end..];
            }
            None => rest = expression(rest, &mut out),
        }
    }
    out + rest
}

/// The word after a tag's opening `{%`, and where it is.
fn first_word(tag: &str) -> (usize, &str) {
    let start = if tag[2..].starts_with(['-', '+']) { 3 } else { 2 };
    let at = tag.len() - tag[start..].trim_start().len();
    let end = tag[at..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(tag.len(), |end| at + end);
    (at, &tag[at..end])
}

/// The length of `{% raw %}…{% endraw %}`, if that is what is here.
fn raw_block(tag: &str) -> Option<usize> {
    if !tag.starts_with("{%") || first_word(tag).1 != "raw" {
        return None;
    }
    let mut end = 2;
    while let Some(at) = tag[end..].find("{%") {
        end += at;
        if first_word(&tag[end..]).1 == "endraw" {
            return Some(tag[end..].find("%}").map_or(tag.len(), |close| end + close + 2));
        }
        end += 2;
    }
    Some(tag.len())
}

/// Copies a tag, with its literals rewritten; what comes after it.
fn expression<'a>(tag: &'a str, out: &mut String) -> &'a str {
    let (close, mut at) = if tag.starts_with("{%") { ("%}", 2) } else { ("}}", 2) };
    out.push_str(&tag[..2]);
    if tag.starts_with("{%") {
        let (word_at, word) = first_word(tag);
        let engine_word = match word {
            "generation" => "with",
            "endgeneration" => "endwith",
            word => word,
        };
        out.push_str(&tag[2..word_at]);
        out.push_str(engine_word);
        at = word_at + word.len();
    }
    let mut brackets = 0usize;
    while let Some(c) = tag[at..].chars().next() {
        if brackets == 0 && tag[at..].starts_with(close) {
            out.push_str(close);
            return &tag[at + 2..];
        }
        match c {
            '(' | '[' | '{' => brackets += 1,
            ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
            '\'' | '"' => {
                at = literal(tag, at, c, out);
                continue;
            }
            _ => (),
        }
        out.push(c);
        at += c.len_utf8();
    }
    ""
}

/// Copies the literal that begins at `start`; where it ends.
fn literal(tag: &str, start: usize, quote: char, out: &mut String) -> usize {
    let body = &tag[start + 1..];
    let (mut escaped, mut end) = (false, None);
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => {
                end = Some(at);
                break;
            }
            _ => (),
        }
    }
    let Some(end) = end else {
        // Never closed: the engine says so.
        out.push_str(&tag[start..]);
        return tag.len();
    };
    out.push(quote);
    let mut rest = &body[..end];
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = escape(&rest[at + 1..], quote, out);
    }
    out.push_str(rest);
    out.push(quote);
    start + 1 + end + 1
}

/// Copies what follows a backslash as Python's `unicode-escape` reads it; what comes after it. What Python takes for no
/// escape keeps its backslash.
fn escape<'a>(after: &'a str, quote: char, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else { return after };
    let rest = &after[c.len_utf8()..];
    let code = |from: &'a str, radix: u32, least: usize, most: usize| {
        let digits = from.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let parsed = u32::from_str_radix(&from[..digits], radix).ok().filter(|_| digits >= least);
        parsed.map(|code| (code, &from[digits..]))
    };
    let (code, rest) = match c {
        '\n' => return rest,
        '\\' | '\'' | '"' => (Some(u32::from(c)), rest),
        'a' => (Some(7), rest),
        'b' => (Some(8), rest),
        'f' => (Some(12), rest),
        'n' => (Some(10), rest),
        'r' => (Some(13), rest),
        't' => (Some(9), rest),
        'v' => (Some(11), rest),
        '0'..='7' => code(after, 8, 1, 3).map_or((None, rest), |(code, rest)| (Some(code), rest)),
        'x' => code(rest, 16, 2, 2).map_or((None, rest), |(code, rest)| (Some(code), rest)),
        'u' => code(rest, 16, 4, 4).map_or((None, rest), |(code, rest)| (Some(code), rest)),
        'U' => code(rest, 16, 8, 8).map_or((None, rest), |(code, rest)| (Some(code), rest)),
        _ => (None, rest),
    };
    match code.and_then(char::from_u32) {
        Some(c) if c == quote || c == '\\' => out.extend(['\\', c]),
        // Through the engine's own escape, so that lines keep their numbers.
        Some('\n') => out.push_str("\\n"),
        Some(c) => out.push(c),
        // Cut short, or half a character: the engine says so, in its own words.
        None if matches!(c, 'x' | 'u' | 'U') => {
            out.push('\\');
            out.push_str(&after[..after.len() - rest.len()]);
        }
        None => out.extend(['\\', '\\', c]),
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_line_feeds() {
        assert_eq!(for_engine("a\r\nb\rc{{ 'd\r\ne' }}"), "a\nb\nc{{ 'd\ne' }}");
    }

    #[test]
    fn generation_is_a_block_in_every_spelling() {
        assert_eq!(
            for_engine(
                "{% generation %}a{%- generation -%}b{%+generation+%}{%-  endgeneration %}{{ generation }}"
            ),
            "{% with %}a{%- with -%}b{%+with+%}{%-  endwith %}{{ generation }}"
        );
        assert_eq!(
            for_engine("{% generations %}{# {% generation %} #}"),
            "{% generations %}{# {% generation %} #}"
        );
        let raw = "{%- raw -%}{% generation %}{{ '\\d' }}{%- endraw %}";
        assert_eq!(for_engine(raw), raw);
        assert_eq!(for_engine("{% raw %}\n{% endraw %}\n"), "{% raw +%}\n{% endraw %}\n");
    }

    /// The values are Python's, of `eval` of the same literals.
    #[test]
    fn literals_are_pythons() {
        for (python, engine) in
            [(r"'\/\d\\'", r"'\\/\\d\\'"), (r#"'\'"\"'"#, r#"'\'""'"#), (r"'\x41\u00e9\101\n'", r"'Aé")]
        {
            let found = for_engine(&format!("{{{{ {python} }}}}"));
            assert!(found.starts_with(&format!("{{{{ {engine}")), "{found}");
        }
        assert_eq!(for_engine("{{ 'a}}b' + \"%}\" }}c"), "{{ 'a}}b' + \"%}\" }}c");
        assert_eq!(for_engine("{{ {'a': {'b': '\\/'}}}} '\\/'"), "{{ {'a': {'b': '\\\\/'}}}} '\\/'");
        assert_eq!(for_engine("{{ 'never"), "{{ 'never");
    }
}
