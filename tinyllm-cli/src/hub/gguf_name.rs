//! What the name of a GGUF file says: the parts of a split one, its quantisation, and which of several is taken.

use std::path::Path;

/// Quantisations by falling size, from the one that is preferred on. Larger ones gain nothing: weights are kept in
/// int8.
const BY_SIZE: [&str; 30] = [
    "Q8_0", "Q6_K_XL", "Q6_K_L", "Q6_K", "Q5_1", "Q5_K_XL", "Q5_K_L", "Q5_K_M", "Q5_K", "Q5_K_S", "Q5_0",
    "Q4_1", "Q4_K_XL", "Q4_K_L", "Q4_K_M", "Q4_K", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_XL", "Q3_K_L",
    "Q3_K_M", "Q3_K", "Q3_K_S", "Q2_K_XL", "Q2_K_L", "Q2_K", "Q2_K_M", "Q2_K_S",
];

/// Whether a file is a GGUF by its name, in letters of any case.
pub(super) fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Whether a GGUF can be a language model: not a vision projector, nor an importance matrix.
fn is_model(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    !file.starts_with("mmproj") && !file.contains("imatrix")
}

/// The name of one part of a split file, `stem-00002-of-00003.gguf`.
struct Part<'a> {
    stem: &'a str,
    count: u32,
    /// `.gguf`, as it is written.
    extension: &'a str,
}

impl<'a> Part<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let (base, extension) = name.split_at(name.rfind('.').filter(|_| is_gguf(name))?);
        let (rest, count) = base.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|_| is_number(part) && is_number(count))?;
        (count > 0).then_some(Part { stem, count, extension })
    }

    fn name(&self, part: u32) -> String {
        format!("{}-{part:05}-of-{:05}{}", self.stem, self.count, self.extension)
    }
}

/// The names of all parts of the file, first to last: its own where it is not split.
pub(super) fn parts(name: &str) -> Vec<String> {
    match Part::parse(name) {
        Some(part) => (1..=part.count).map(|number| part.name(number)).collect(),
        None => vec![name.to_owned()],
    }
}

/// The name of the first part of the file: its own where it is not split.
pub(super) fn first_part(name: &str) -> String {
    Part::parse(name).map_or_else(|| name.to_owned(), |part| part.name(1))
}

/// The models among a repository's files: of a split one the first part.
pub(super) fn models<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.filter(|name| is_gguf(name) && is_model(name) && first_part(name) == **name).collect()
}

/// The model that a repository's name stands for: the only one, else its Q8_0, else the largest below.
pub(super) fn preferred<'a>(models: &[&'a str]) -> Option<&'a str> {
    if let [only] = models {
        return Some(only);
    }
    let first = BY_SIZE.iter().map(|tag| tagged(models, tag)).find(|found| !found.is_empty())?;
    // Several of one quantisation are several models.
    if let [only] = first.as_slice() { Some(only) } else { None }
}

/// The models whose name has the quantisation `tag`, in letters of any case: those where it stands last, else those
/// where it stands anywhere; of these, those in no folder if there are any.
pub(super) fn tagged<'a>(models: &[&'a str], tag: &str) -> Vec<&'a str> {
    let rank = |name: &str| {
        let base = Part::parse(name)
            .map_or_else(|| name.rsplit_once('.').map_or(name, |(base, _)| base), |part| part.stem);
        place(&base.to_ascii_lowercase(), &tag.to_ascii_lowercase())
            .map(|is_last| (!is_last, name.matches('/').count()))
    };
    let best = models.iter().filter_map(|name| rank(name)).min();
    models.iter().copied().filter(|name| best.is_some() && rank(name) == best).collect()
}

/// Whether `tag` stands in `base` as words of its own, and if so whether it stands last.
fn place(base: &str, tag: &str) -> Option<bool> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let found = base.match_indices(tag).filter(|(start, _)| {
        let (before, after) = (&base.as_bytes()[..*start], &base.as_bytes()[start + tag.len()..]);
        // In `Name_Q4_0` the word begins after the underscore, but `Q4_K` is no word of `Q4_K_M`.
        let begins = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        begins && after.first().is_none_or(|byte| !is_word(*byte))
    });
    found.map(|(start, _)| start + tag.len() == base.len()).max()
}

#[cfg(test)]
mod tests {
    use super::{first_part, is_gguf, models, parts, preferred, tagged};

    #[test]
    fn parts_of_a_split_file_are_numbered() {
        let all = ["m/q4-00001-of-00003.gguf", "m/q4-00002-of-00003.gguf", "m/q4-00003-of-00003.gguf"];
        assert_eq!(parts("m/q4-00002-of-00003.gguf"), all);
        assert_eq!(first_part("q4-00002-of-00002.GGUF"), "q4-00001-of-00002.GGUF");
        for whole in ["q4.gguf", "q4-2-of-3.gguf", "q4-00001-of-00002.bin"] {
            assert_eq!(parts(whole), [whole]);
        }
    }

    #[test]
    fn the_extension_may_be_in_any_case_and_a_name_is_needed() {
        assert!(is_gguf("m.gguf") && is_gguf("a/M.GGUF") && is_gguf("m.GgUf"));
        assert!(!is_gguf(".gguf") && !is_gguf("a/.gguf") && !is_gguf("gguf") && !is_gguf("m.gguf.txt"));
    }

    #[test]
    fn a_quantisation_is_found_in_names_as_they_are() {
        let names = [
            "Llama-3.2-1B-Instruct-Q4_K_M.gguf",
            "Llama-3.2-1B-Instruct-Q4_K_S.gguf",
            "Llama-3.2-1B-Instruct-f16.gguf",
            "Llama-3.2-1B-Instruct-BF16.gguf",
            "tiny.Q8_0.gguf",
            "old/tiny.Q8_0.gguf",
            "Q5_K_M/big-Q5_K_M-00001-of-00002.gguf",
            "qwen2.5-0.5b-instruct-q6_k.gguf",
            "Name_Q4_0.gguf",
            "Name-Q4_0-imat.gguf",
            "Q3_K_M/model.gguf",
        ];
        for (tag, found) in [
            ("q4_k_m", names[0]),
            ("Q4_K_S", names[1]),
            ("F16", names[2]),
            ("bf16", names[3]),
            ("Q8_0", names[4]),
            ("q5_K_m", names[6]),
            ("Q6_K", names[7]),
            ("Q4_0", names[8]),
            ("Q3_K_M", names[10]),
        ] {
            assert_eq!(tagged(&names, tag), [found], "{tag}");
        }
        assert!(tagged(&names, "Q4_K").is_empty());
        assert_eq!(tagged(&["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0").len(), 2);
    }

    #[test]
    fn of_several_the_best_that_pays_is_preferred() {
        for (names, expected) in [
            (vec!["m-f16.gguf"], Some("m-f16.gguf")),
            (vec!["m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-f16.gguf"], Some("m-Q8_0.gguf")),
            (vec!["m-F32.gguf", "m-Q4_0.gguf", "m.q6_k.gguf", "m-IQ2_XS.gguf"], Some("m.q6_k.gguf")),
            (vec!["m-Q4_0.gguf", "mmproj-Q8_0.gguf", "m.imatrix.gguf"], Some("m-Q4_0.gguf")),
            (
                vec!["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-Q4_0.gguf"],
                Some("m-Q8_0-00001-of-00002.gguf"),
            ),
            (vec!["a-Q8_0.gguf", "b-Q8_0.gguf"], None),
            (vec!["m-f16.gguf", "m-f32.gguf"], None),
            (vec!["a.gguf", "b.gguf"], None),
        ] {
            assert_eq!(preferred(&models(names.iter().copied())), expected, "{names:?}");
        }
    }
}
