//! `quantization_config` of config.json: the compressed-tensors layouts of W8A16, and what is refused by name.
//!
//! Of the format's many layouts two hold int8 weights with scales and 16-bit activations: `pack-quantized` (four weights
//! to an int32 in offset binary) and `int-quantized` (int8). Their tensors are read by `checkpoint::hugging_face`.

mod schemes;
mod target;

pub(crate) use schemes::{GroupScheme, PackFormat, QuantizationConfig};
pub(crate) use target::LayerClass;
