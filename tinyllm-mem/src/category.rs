//! The categories every byte of the engine belongs to, those that a program adds, and the parts an allocation is made of.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What memory is for. The names (see [`Category::name`]) are the keys of JSON output. A name is one category:
/// [`Category::custom`] gives the engine's own where it has that name.
///
/// Categories are ordered as [`Category::ALL`], custom ones after them by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Category {
    /// Values of weight matrices and biases.
    Weights,
    /// Scales of quantised weights.
    Scales,
    /// The token embedding table.
    Embeddings,
    /// Normalisation weights.
    Norms,
    /// Keys and values of past tokens.
    Kv,
    /// Values between operations.
    Activations,
    /// Scratch memory inside operations.
    Workspace,
    /// Logits of the sampled rows.
    Logits,
    /// Host memory on its way to or from a device.
    Staging,
    /// Low-rank adapters.
    Adapters,
    /// Gradients.
    Gradients,
    /// Optimizer state.
    Optimizer,
    /// Activations kept for the backward pass.
    SavedActivations,
    /// What each sequence needs beside the KV cache: tokens, block table, sampler state, text.
    Slots,
    /// A server's request and response buffers.
    Wire,
    /// Alignment and tile padding.
    Padding,
    /// A category of the program that uses this crate, made by [`Category::custom`].
    Custom(CustomName),
}

/// The name of a [`Category::Custom`]: never one of [`Category::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomName(&'static str);

impl Category {
    /// The engine's categories, in the order reports print them.
    pub const ALL: [Category; 16] = [
        Category::Weights,
        Category::Scales,
        Category::Embeddings,
        Category::Norms,
        Category::Kv,
        Category::Activations,
        Category::Workspace,
        Category::Logits,
        Category::Staging,
        Category::Adapters,
        Category::Gradients,
        Category::Optimizer,
        Category::SavedActivations,
        Category::Slots,
        Category::Wire,
        Category::Padding,
    ];

    /// The category with this name: one of [`Category::ALL`], else a custom one.
    ///
    /// ```
    /// use tinyllm_mem::{Buffer, Category, HostResource, Tracking};
    /// const SPRITES: Category = Category::custom("sprites");
    /// let tracking = std::sync::Arc::new(Tracking::new(HostResource::shared()));
    /// let _atlas = Buffer::<u8>::zeroed(&(tracking.clone() as _), SPRITES, "atlas", 1024)?;
    /// assert_eq!(tracking.report().categories[&SPRITES].live_bytes, 1024);
    /// assert_eq!(Category::custom("kv"), Category::Kv);
    /// # Ok::<(), tinyllm_mem::MemError>(())
    /// ```
    pub const fn custom(name: &'static str) -> Self {
        match Self::named(name) {
            Some(category) => category,
            None => Category::Custom(CustomName(name)),
        }
    }

    /// The one of [`Category::ALL`] with this name.
    const fn named(name: &str) -> Option<Self> {
        let mut index = 0;
        while index < Self::ALL.len() {
            if is_same(Self::ALL[index].name().as_bytes(), name.as_bytes()) {
                return Some(Self::ALL[index]);
            }
            index += 1;
        }
        None
    }

    /// Whether the bytes are written anew in every step, and no more of them than the step has rows.
    pub const fn is_scratch(self) -> bool {
        matches!(self, Category::Activations | Category::Workspace | Category::Logits)
    }

    /// The category's name in reports and JSON.
    ///
    /// ```
    /// assert_eq!(tinyllm_mem::Category::SavedActivations.name(), "saved_activations");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Category::Weights => "weights",
            Category::Scales => "scales",
            Category::Embeddings => "embeddings",
            Category::Norms => "norms",
            Category::Kv => "kv",
            Category::Activations => "activations",
            Category::Workspace => "workspace",
            Category::Logits => "logits",
            Category::Staging => "staging",
            Category::Adapters => "adapters",
            Category::Gradients => "gradients",
            Category::Optimizer => "optimizer",
            Category::SavedActivations => "saved_activations",
            Category::Slots => "slots",
            Category::Wire => "wire",
            Category::Padding => "padding",
            Category::Custom(CustomName(name)) => name,
        }
    }
}

/// `==` of bytes, which a `const fn` does not have yet.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A custom name that is read is kept for the life of the process, so there is a bound on each and on all of them.
impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        let custom = || {
            let names = &mut *NAMES.lock().unwrap_or_else(PoisonError::into_inner);
            intern(names, &name).map(Category::custom)
        };
        Category::named(&name)
            .or_else(custom)
            .ok_or_else(|| de::Error::custom(format_args!("a category's name, not {:.40?}", &*name)))
    }
}

/// The longest custom name that is read, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Custom names that are read in the life of a process, at most.
const MAX_NAMES: usize = 1024;

/// The same text, kept for ever; `None` where it is empty, too long, or one too many.
fn intern(names: &mut BTreeSet<&'static str>, name: &str) -> Option<&'static str> {
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if name.is_empty() || name.len() > MAX_NAME_BYTES || names.len() == MAX_NAMES {
        return None;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    Some(name)
}

/// One named piece of an allocation. A slab is one allocation of many parts; a plain buffer has one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// What the bytes are for.
    pub category: Category,
    /// The name that reports and leak lists show.
    pub name: String,
    /// Size in bytes.
    pub bytes: usize,
}

impl Part {
    /// A part of `bytes` bytes.
    pub fn new(category: Category, name: impl Into<String>, bytes: usize) -> Self {
        Part { category, name: name.into(), bytes }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test ends where it fails
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_category() {
        for category in Category::ALL {
            assert_eq!(Category::custom(category.name()), category);
        }
        let mut names = Category::ALL.map(Category::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Category::ALL.len());
    }

    #[test]
    fn custom_categories_come_last_and_by_name() {
        let mut categories =
            [Category::custom("b"), Category::Padding, Category::custom("a"), Category::Weights];
        categories.sort();
        assert_eq!(categories.map(Category::name), ["weights", "padding", "a", "b"]);
        // Equal by name, wherever the text lies.
        assert_eq!(Category::custom(Box::leak("a".to_owned().into())), Category::custom("a"));
    }

    #[test]
    fn json_has_the_name_and_gives_the_category_back() {
        let categories = [Category::Slots, Category::custom("sprites")];
        let text = serde_json::to_string(&categories).unwrap();
        assert_eq!(text, r#"["slots","sprites"]"#);
        assert_eq!(serde_json::from_str::<[Category; 2]>(&text).unwrap(), categories);
        let escaped = serde_json::from_str::<Category>(r#""a\u0062""#).unwrap();
        assert_eq!(escaped, Category::custom("ab"));
    }

    #[test]
    fn names_that_are_read_are_bounded() {
        let long = format!("{:?}", "x".repeat(MAX_NAME_BYTES + 1));
        for wrong in [r#""""#, &long, "5", "null"] {
            assert!(serde_json::from_str::<Category>(wrong).is_err(), "{wrong}");
        }
        let mut names = BTreeSet::new();
        assert!((0..MAX_NAMES).all(|name| intern(&mut names, &name.to_string()).is_some()));
        assert_eq!(intern(&mut names, "one more"), None);
        assert_eq!(intern(&mut names, "7"), Some("7"), "known ones go on");
    }
}
