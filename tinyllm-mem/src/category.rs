//! The categories every byte of the engine belongs to, and the parts an allocation is made of.

use std::fmt;

/// What memory is for. The names (see [`Category::name`]) are the keys of the program's JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Alignment and tile padding.
    Padding,
}

impl Category {
    /// Every category, in the order reports print them.
    pub const ALL: [Category; 14] = [
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
        Category::Padding,
    ];

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
            Category::Padding => "padding",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One named piece of an allocation. A slab is one allocation of many parts; a plain buffer has one.
#[derive(Clone, Debug, PartialEq, Eq)]
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
