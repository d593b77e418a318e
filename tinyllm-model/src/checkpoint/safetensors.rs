//! The safetensors container: a header of JSON, then the tensors' bytes.
//!
//! The types and their names are the `safetensors` crate's. The header is read here because that crate lets the last of
//! two equal names win, holds a hostile header in memory several times over, and does not say which tensor is at
//! fault. What the tensors mean is above this.

use std::{borrow::Cow, fmt, ops::Range, path::Path};

pub use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use tinyllm_mem::MappedFile;

use crate::{ModelError, Result};

/// What the header's length takes.
const LENGTH_BYTES: usize = 8;
/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const MAX_TENSORS: usize = 1 << 17;
const MAX_NAME_BYTES: usize = 512;
const MAX_DIMENSIONS: usize = 8;

/// A tensor as the header declares it; its bytes are inside the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// Where its bytes are in the file.
    pub bytes: Range<usize>,
}

/// Reads the header of a file and checks it against the file's length. Tensors come in file order.
///
/// # Errors
/// [`ModelError::Malformed`] naming the tensor at fault: a header that is not the format's JSON, a name twice, bytes that
/// overlap, leave holes, end outside the file or do not fit the shape; the file's own where it cannot be read.
pub fn read_safetensors_header(file: &MappedFile) -> Result<Vec<StoredTensor>> {
    let (path, file_bytes) = (file.path(), file.len());
    let header_error = |problem: String| ModelError::malformed(path, "header", problem);
    let mut length = [0; LENGTH_BYTES];
    if file_bytes < LENGTH_BYTES {
        return Err(header_error(format!("the file of {file_bytes} bytes is too short to have one")));
    }
    file.read_at(0, &mut length)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES || header_bytes > (file_bytes - LENGTH_BYTES) as u64 {
        let problem = format!(
            "claims {header_bytes} bytes of the {file_bytes} in the file; at most {MAX_HEADER_BYTES} are allowed"
        );
        return Err(header_error(problem));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_at(LENGTH_BYTES, &mut header)?;
    parse(&header, file_bytes - LENGTH_BYTES - header.len(), path)
}

/// The tensors of a header before `data_bytes` of data.
fn parse(header: &[u8], data_bytes: usize, path: &Path) -> Result<Vec<StoredTensor>> {
    let header_error = |problem: String| ModelError::malformed(path, "header", problem);
    let mut json = serde_json::Deserializer::from_slice(header);
    let mut tensors =
        HeaderVisitor.deserialize(&mut json).map_err(|error| header_error(error.to_string()))?;
    json.end().map_err(|error| header_error(error.to_string()))?;

    tensors.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
    refuse_duplicates(&tensors, path)?;
    let mut expected_start = 0;
    for tensor in &tensors {
        let malformed = |problem| ModelError::malformed(path, &tensor.name, problem);
        let Range { start, end } = tensor.bytes;
        if start != expected_start || end < start {
            return Err(malformed(format!(
                "data_offsets must begin at {expected_start}, where the tensor before ends; are [{start}, {end}]"
            )));
        }
        if end > data_bytes {
            return Err(malformed(format!(
                "data_offsets end at {end}, and the file holds {data_bytes} bytes of data"
            )));
        }
        let size = stored_bytes(&tensor.shape, tensor.dtype)
            .ok_or_else(|| malformed(format!("shape {:?} is too large", tensor.shape)))?;
        if size != end - start {
            return Err(malformed(format!(
                "shape {:?} of {} takes {size} bytes, data_offsets give {}",
                tensor.shape,
                tensor.dtype,
                end - start
            )));
        }
        expected_start = end;
    }
    if expected_start != data_bytes {
        let problem = format!("{} bytes follow the last tensor", data_bytes - expected_start);
        return Err(ModelError::malformed(path, "data", problem));
    }
    let data_start = LENGTH_BYTES + header.len();
    for tensor in &mut tensors {
        tensor.bytes = tensor.bytes.start + data_start..tensor.bytes.end + data_start;
    }
    Ok(tensors)
}

/// The bytes that a tensor takes; `None` where that overflows or is not a whole number of bytes.
pub(crate) fn stored_bytes(shape: &[usize], dtype: Dtype) -> Option<usize> {
    let elements = shape.iter().try_fold(1_usize, |product, &dimension| product.checked_mul(dimension))?;
    let bits = elements.checked_mul(dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn refuse_duplicates(tensors: &[StoredTensor], path: &Path) -> Result<()> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ModelError::malformed(path, pair[0], "is in the header twice")),
        None => Ok(()),
    }
}

/// The header object, tensor by tensor, without a tree of JSON in between.
struct HeaderVisitor;

impl<'de> DeserializeSeed<'de> for HeaderVisitor {
    type Value = Vec<StoredTensor>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Vec<StoredTensor>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            if name == "__metadata__" {
                map.next_value::<Metadata>()?;
                continue;
            }
            if name.len() > MAX_NAME_BYTES {
                return Err(A::Error::custom(format!(
                    "a tensor's name is longer than {MAX_NAME_BYTES} bytes"
                )));
            }
            if tensors.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let Entry { dtype, shape: Numbers(shape), data_offsets: [start, end] } =
                map.next_value().map_err(|error| A::Error::custom(format!("{name}: {error}")))?;
            tensors.push(StoredTensor { name: name.into_owned(), dtype, shape, bytes: start..end });
        }
        Ok(tensors)
    }
}

/// A tensor's entry. Unknown keys are errors: the format has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: Dtype,
    shape: Numbers,
    data_offsets: [usize; 2],
}

/// A shape, of few enough dimensions.
struct Numbers(Vec<usize>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Numbers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a shape of at most {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Numbers, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = sequence.next_element()? {
                    if shape.len() == MAX_DIMENSIONS {
                        return Err(A::Error::custom(format!("more than {MAX_DIMENSIONS} dimensions")));
                    }
                    shape.push(dimension);
                }
                Ok(Numbers(shape))
            }
        }
        deserializer.deserialize_seq(Shape)
    }
}

/// `__metadata__`: strings by name, checked and dropped.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("__metadata__ of strings by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value::<Text<'_>>()?;
                }
                Ok(Metadata)
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

/// A string, borrowed from the file where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;
