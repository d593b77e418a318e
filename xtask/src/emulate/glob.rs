//! Patterns as shells have them: `*` is any text, `?` any character, everything else itself.

/// Whether a pattern covers a whole text.
pub(super) fn covers(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // The last star, and how much of the text it has taken: it takes more where what follows does not fit.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((of_star, taken)) = star else { return false };
                star = Some((of_star, taken + 1));
                (at, in_text) = (of_star + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn patterns_cover_whole_texts() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("softmax", "softmax"),
            ("softmax*", "softmax_forward_kernel4"),
            ("*.cu:1?", "dir/softmax.cu:12"),
            ("a*b*c", "axxbxbyc"),
            ("race*memory*", "race in shared memory: write"),
            ("**x", "x"),
            ("void k<[int*]>", "void k<[int, 4]>"),
        ] {
            assert!(covers(pattern, text), "{pattern} covers {text}");
        }
        for (pattern, text) in
            [("", "x"), ("softmax", "softmax4"), ("*.cu:1?", "softmax.cu:123"), ("a*b", "abc"), ("?", "")]
        {
            assert!(!covers(pattern, text), "{pattern} does not cover {text}");
        }
    }
}
