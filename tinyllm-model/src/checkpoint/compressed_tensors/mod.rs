//! The compressed-tensors layouts of W8A16: what is read, what is refused by name, and how this engine writes them.
//!
//! Of the format's many layouts two hold int8 weights with scales and 16-bit activations: `pack-quantized` (four weights
//! to an int32 in offset binary) and `int-quantized` (int8). The files are safetensors; see `checkpoint::safetensors`.

mod config;
mod layer;
mod target;

pub use config::{GroupScheme, PackFormat, QuantizationConfig};
pub(crate) use layer::{QuantizedLayer, is_part_of_quantized, quantized_layer};
pub use target::LayerClass;
