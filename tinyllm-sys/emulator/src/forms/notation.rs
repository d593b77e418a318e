//! The manual's notation for what may follow an opcode's name: `.{lo, hi}.INT` is one of two words and then one of a set,
//! `{.ftz}` is a word that may be left out, `{.ca, .cg}` one of several or none.

use super::sets;
use crate::ptx::type_named;

/// One place of a form: the words that may stand there, some of them several in a row.
type Place = Vec<Vec<&'static str>>;

/// A form's places; where a place may be empty, one of its choices has no words.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

impl Places {
    /// Reads the notation.
    pub(super) fn new(notation: &'static str) -> Places {
        let mut places = Vec::new();
        let mut rest = notation;
        while !rest.is_empty() {
            let (place, after) = match rest.strip_prefix('{') {
                Some(inside) => {
                    let (choices, after) = inside.split_once('}').unwrap_or((inside, ""));
                    let mut place: Place = choices.split(", ").flat_map(sequences).collect();
                    place.push(Vec::new());
                    (place, after)
                }
                None => {
                    let word = rest.strip_prefix('.').unwrap_or(rest);
                    match word.strip_prefix('{') {
                        Some(inside) => {
                            let (choices, after) = inside.split_once('}').unwrap_or((inside, ""));
                            (choices.split(", ").flat_map(sequences).collect(), after)
                        }
                        None => {
                            let end = word.find(['.', '{']).unwrap_or(word.len());
                            (sequences(&word[..end]), &word[end..])
                        }
                    }
                }
            };
            places.push(place);
            rest = after;
        }
        Places(places)
    }

    /// Which of the words fit, a bit each, and whether they are a whole form. Compilers write words in many orders and ptxas
    /// takes them; types alone say by their order which is which.
    pub(super) fn fit(&self, words: &[String]) -> (u64, bool) {
        fit(&self.0, words, 0)
    }

    /// Every sequence of words that fits, with its dots.
    pub(super) fn spelled(&self) -> Vec<String> {
        self.0.iter().fold(vec![String::new()], |starts, place| {
            let longer = |start: &String| {
                let start = start.clone();
                place.iter().map(move |choice| {
                    choice.iter().fold(start.clone(), |text, word| format!("{text}.{word}"))
                })
            };
            starts.iter().flat_map(longer).collect()
        })
    }
}

/// The same of some places, with words that others have taken.
fn fit(places: &[Place], words: &[String], taken: u64) -> (u64, bool) {
    let Some((place, rest)) = places.split_first() else {
        return (taken, taken.count_ones() as usize == words.len());
    };
    let mut best = (taken, false);
    for choice in place {
        let taken_too = choice.iter().try_fold(taken, |taken, word| {
            let is_free = |index: &usize| taken >> index & 1 == 0;
            let mut free = (0..words.len().min(64)).filter(is_free);
            let found = match type_named(word) {
                Some(_) => free.find(|index| type_named(&words[*index]).is_some()),
                None => free.find(|index| words[*index] == *word),
            };
            found.filter(|index| words[*index] == *word).map(|index| taken | 1 << index)
        });
        let Some(taken_too) = taken_too else { continue };
        let fits = fit(rest, words, taken_too);
        if fits.1 {
            return fits;
        }
        if fits.0.count_ones() > best.0.count_ones() {
            best = fits;
        }
    }
    best
}

/// Words in a row; of a set's name, each of its members.
fn sequences(text: &'static str) -> Vec<Vec<&'static str>> {
    let words = text.split('.').filter(|word| !word.is_empty());
    words.fold(vec![Vec::new()], |starts, word| {
        let members = match sets::SETS.iter().find(|(name, _)| *name == word) {
            Some((_, members)) => members.to_vec(),
            None => vec![word],
        };
        let longer = |start: &Vec<&'static str>| -> Vec<Vec<&'static str>> {
            members.iter().map(|member| start.iter().copied().chain([*member]).collect()).collect()
        };
        starts.iter().flat_map(longer).collect()
    })
}
