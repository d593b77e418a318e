//! Parses one file's header: magic, version, metadata, tensor infos. The meaning of metadata keys is in `config`.

use std::{collections::HashSet, ops::Range, path::Path};

use super::{
    cursor::{Cursor, Fault, shown},
    metadata::{Entries, Entry},
    types::GgmlType,
    value::ValueType,
};
use tinyllm_mem::MappedFile;

use crate::{ModelError, Result};

// Far above what any model has. Keys and tensor names are copied in addition to the header, which is limited itself;
// with these limits the reader takes at most the header's limit and 64 MiB, whatever a file claims or holds.
const MAX_METADATA_ENTRIES: u64 = 1 << 14;
const MAX_TENSORS: u64 = 1 << 14;
const MAX_ARRAY_ELEMS: u64 = 1 << 24;
const MAX_KEY_BYTES: u64 = 1 << 10;
const MAX_TENSOR_NAME_BYTES: u64 = 256;
const MAX_STRING_BYTES: u64 = 16 << 20;
const MAX_DIMS: u32 = 4;
const DEFAULT_ALIGNMENT_BYTES: u32 = 32;
const MAX_ALIGNMENT_BYTES: u32 = 1 << 16;

/// The smallest a string, a metadata entry and a tensor info can be.
const MIN_STRING_BYTES: u64 = 8;
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;
const MIN_TENSOR_INFO_BYTES: u64 = 8 + 4 + 8 + 4 + 8;

/// A parsed header.
pub(super) struct Header {
    /// The file from its beginning to the end of the header: what the values are read from.
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Entries,
    pub(super) tensors: Vec<TensorEntry>,
}

/// A tensor of one file.
pub(super) struct TensorEntry {
    pub(super) name: String,
    /// Slowest dimension first.
    pub(super) shape: Vec<usize>,
    pub(super) ggml_type: GgmlType,
    /// Its bytes in the file.
    pub(super) data: Range<usize>,
}

/// Reads and parses the header of `file`.
pub(super) fn parse(file: &MappedFile) -> Result<Header> {
    let (path, mut cursor) = (file.path(), Cursor::new(file));
    let at = |field: &str| {
        let field = field.to_owned();
        move |problem: Fault| ModelError::malformed(path, field, problem)
    };
    check_magic(path, &mut cursor)?;

    let tensor_count = cursor.u64().map_err(at("tensor count"))?;
    let metadata_count = cursor.u64().map_err(at("metadata count"))?;
    let metadata_count = cursor
        .check_count(metadata_count, MIN_ENTRY_BYTES, MAX_METADATA_ENTRIES)
        .map_err(at("metadata count"))?;
    let entries = parse_metadata(path, &mut cursor, metadata_count)?;
    let alignment_bytes = alignment(path, &entries, cursor.bytes())?;

    let tensor_count =
        cursor.check_count(tensor_count, MIN_TENSOR_INFO_BYTES, MAX_TENSORS).map_err(at("tensor count"))?;
    let infos = (0..tensor_count)
        .map(|index| parse_tensor_info(path, &mut cursor, index))
        .collect::<Result<Vec<_>>>()?;
    let data_start = cursor.position().next_multiple_of(alignment_bytes);
    let tensors = infos
        .into_iter()
        .map(|info| info.place(path, data_start, alignment_bytes, file.len()))
        .collect::<Result<Vec<_>>>()?;
    check_distinct(path, &tensors)?;
    Ok(Header { bytes: cursor.into_bytes(), entries, tensors })
}

fn check_magic(path: &Path, cursor: &mut Cursor<'_>) -> Result<()> {
    let magic = cursor.u32().map_err(|problem| ModelError::malformed(path, "magic", problem))?;
    if magic != u32::from_le_bytes(super::MAGIC) {
        let found = magic.to_le_bytes().escape_ascii().to_string();
        return Err(ModelError::malformed(
            path,
            "magic",
            format!("the file begins with \"{found}\", not \"GGUF\": it is not a GGUF file"),
        ));
    }
    let version = cursor.u32().map_err(|problem| ModelError::malformed(path, "version", problem))?;
    let refuse = |what: String, remedy: &str| Err(ModelError::unsupported(path, "version", what, remedy));
    match version {
        2 | 3 => Ok(()),
        1 => refuse(
            "GGUF version 1".to_owned(),
            "versions 2 and 3 are read: convert the original model again with llama.cpp's convert_hf_to_gguf.py",
        ),
        big if (1..=3).contains(&big.swap_bytes()) => refuse(
            "a big-endian GGUF".to_owned(),
            "little-endian files are read: convert it with the program gguf-convert-endian of the PyPI package gguf",
        ),
        other => refuse(format!("GGUF version {other}"), "versions 2 and 3 are read"),
    }
}

fn parse_metadata(path: &Path, cursor: &mut Cursor<'_>, count: usize) -> Result<Entries> {
    let mut entries = Entries::default();
    for index in 0..count {
        let key = cursor
            .string(MAX_KEY_BYTES)
            .map_err(|problem| ModelError::malformed(path, format!("metadata key {index}"), problem))?;
        let at_key = |problem: Fault| ModelError::malformed(path, shown(&key), problem);
        let entry = parse_value(cursor).map_err(at_key)?;
        if entries.by_key.insert(key.clone(), entry).is_some() {
            return Err(at_key("the key appears twice in the metadata".to_owned()));
        }
        entries.keys.push(key);
    }
    Ok(entries)
}

fn parse_value(cursor: &mut Cursor<'_>) -> Result<Entry, Fault> {
    let value_type = parse_type(cursor)?;
    let mut elements = None;
    let bytes = match value_type {
        ValueType::String => cursor.text(MAX_STRING_BYTES)?,
        ValueType::Array => {
            let (element, count) = (parse_type(cursor)?, cursor.u64()?);
            let element_bytes = match element {
                ValueType::Array => return Err("an array of arrays; nested arrays are not read".to_owned()),
                ValueType::String => None,
                number => number.fixed_bytes(),
            };
            let min_bytes = element_bytes.map_or(MIN_STRING_BYTES, |bytes| bytes as u64);
            let count = cursor.check_count(count, min_bytes, MAX_ARRAY_ELEMS)?;
            elements = Some((element, count));
            match element_bytes {
                Some(bytes) => cursor.skip(count as u64 * bytes as u64)?,
                None => {
                    let start = cursor.position();
                    for index in 0..count {
                        cursor.text(MAX_STRING_BYTES).map_err(|problem| format!("[{index}]: {problem}"))?;
                    }
                    start..cursor.position()
                }
            }
        }
        number => cursor.skip(number.fixed_bytes().unwrap_or(1) as u64)?,
    };
    Ok(Entry { value_type, elements, bytes })
}

fn parse_type(cursor: &mut Cursor<'_>) -> Result<ValueType, Fault> {
    let number = cursor.u32()?;
    ValueType::from_number(number)
        .ok_or_else(|| format!("value type {number} is unknown; 0 to 12 are defined"))
}

fn alignment(path: &Path, entries: &Entries, header: &[u8]) -> Result<usize> {
    let metadata = super::Metadata { path, header, entries };
    let bytes = metadata.u32("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT_BYTES);
    if !bytes.is_power_of_two() || !(8..=MAX_ALIGNMENT_BYTES).contains(&bytes) {
        return Err(metadata.malformed(
            "general.alignment",
            format!("is {bytes}, and must be a power of two from 8 to {MAX_ALIGNMENT_BYTES}"),
        ));
    }
    Ok(bytes as usize)
}

/// A tensor info as the file has it; its place is not checked yet, since the data's start is not known.
struct TensorInfoRecord {
    name: String,
    shape: Vec<usize>,
    ggml_type: GgmlType,
    bytes: u64,
    offset: u64,
}

fn parse_tensor_info(path: &Path, cursor: &mut Cursor<'_>, index: usize) -> Result<TensorInfoRecord> {
    let name = cursor
        .string(MAX_TENSOR_NAME_BYTES)
        .map_err(|problem| ModelError::malformed(path, format!("tensor {index}"), problem))?;
    let at_tensor = |problem: Fault| ModelError::malformed(path, shown(&name), problem);

    let n_dims = cursor.u32().map_err(at_tensor)?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(at_tensor(format!("has {n_dims} dimensions, and must have 1 to {MAX_DIMS}")));
    }
    let mut shape = Vec::with_capacity(MAX_DIMS as usize);
    for _ in 0..n_dims {
        shape.push(cursor.u64().map_err(at_tensor)?);
    }
    shape.reverse();
    let number = cursor.u32().map_err(at_tensor)?;
    let ggml_type = GgmlType::from_number(number)
        .map_err(|what| ModelError::unsupported(path, shown(&name), what, GgmlType::SUPPORTED))?;
    let offset = cursor.u64().map_err(at_tensor)?;

    let row_elems = shape.last().copied().unwrap_or(0);
    let block_elems = ggml_type.block_elems() as u64;
    if shape.contains(&0) {
        return Err(at_tensor(format!("has an empty dimension: {shape:?}")));
    }
    if row_elems % block_elems != 0 {
        let name = ggml_type.name();
        return Err(at_tensor(format!(
            "has rows of {row_elems} elements, which is not a multiple of {name}'s block of {block_elems}"
        )));
    }
    let bytes = shape
        .iter()
        .try_fold(1, |product: u64, &dim| product.checked_mul(dim))
        .and_then(|elems| (elems / block_elems).checked_mul(ggml_type.block_bytes() as u64))
        .ok_or_else(|| at_tensor(format!("has a size beyond 64 bits: {shape:?}")))?;
    let shape = shape
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| at_tensor(format!("has a dimension of {dim}"))))
        .collect::<Result<Vec<_>>>()?;
    Ok(TensorInfoRecord { name, shape, ggml_type, bytes, offset })
}

impl TensorInfoRecord {
    fn place(
        self,
        path: &Path,
        data_start: usize,
        alignment_bytes: usize,
        file_bytes: usize,
    ) -> Result<TensorEntry> {
        let Self { name, shape, ggml_type, bytes, offset } = self;
        let fault = |problem: Fault| Err(ModelError::malformed(path, shown(&name), problem));
        if offset % alignment_bytes as u64 != 0 {
            return fault(format!(
                "its offset {offset} is not a multiple of the file's alignment of {alignment_bytes}"
            ));
        }
        let start = offset.checked_add(data_start as u64);
        let end = start.and_then(|start| start.checked_add(bytes)).filter(|&end| end <= file_bytes as u64);
        let (Some(start), Some(end)) = (start, end) else {
            return fault(format!(
                "its {bytes} bytes at offset {offset} of the data end beyond the file's {file_bytes} bytes: \
                 the file is cut short or damaged"
            ));
        };
        // Both are at most `file_bytes`, a usize.
        let data = start as usize..end as usize;
        Ok(TensorEntry { name, shape, ggml_type, data })
    }
}

/// Refuses two tensors with one name, and tensors that share bytes.
fn check_distinct(path: &Path, tensors: &[TensorEntry]) -> Result<()> {
    let mut names = HashSet::with_capacity(tensors.len());
    for tensor in tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(ModelError::malformed(path, shown(&tensor.name), "the tensor appears twice"));
        }
    }
    let mut by_place: Vec<&TensorEntry> = tensors.iter().collect();
    by_place.sort_by_key(|tensor| tensor.data.start);
    for pair in by_place.windows(2) {
        if pair[0].data.end > pair[1].data.start {
            return Err(ModelError::malformed(
                path,
                shown(&pair[1].name),
                format!("its bytes overlap those of {}", shown(&pair[0].name)),
            ));
        }
    }
    Ok(())
}
