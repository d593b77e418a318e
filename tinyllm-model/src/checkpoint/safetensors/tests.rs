//! Headers built here byte by byte, and the malformed files by their manifest.

use proptest::prelude::*;

use super::*;
use crate::test_data;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn read_bytes(file: Vec<u8>) -> Result<Vec<StoredTensor>> {
    read_safetensors_header(&MappedFile::from_static(file.leak(), "model.safetensors"))
}

fn read(header: &str, data: usize) -> Result<Vec<StoredTensor>> {
    read_bytes(file(header, data))
}

#[test]
fn tensors_come_in_file_order_with_their_place_in_the_file() {
    let header = r#"{"b":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},"__metadata__":{"format":"pt"},
        "\u0061":{"dtype":"F16","shape":[1,3],"data_offsets":[0,6]},"z":{"dtype":"I8","shape":[0],"data_offsets":[14,14]}}   "#;
    let tensors = read(header, 14).unwrap();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "z"]);
    let start = 8 + header.len();
    assert_eq!((tensors[0].bytes.clone(), tensors[0].dtype), (start..start + 6, Dtype::F16));
    assert_eq!((tensors[1].bytes.clone(), tensors[1].shape.clone()), (start + 6..start + 14, vec![2]));
}

#[test]
fn each_fault_names_its_tensor() {
    for (header, data, field) in [
        (
            r#"{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"I8","shape":[2],"data_offsets":[2,4]}}"#,
            4,
            "a",
        ),
        (r#"{"a":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}}"#, 3, "a"),
        (r#"{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}"#, 3, "a"),
        (r#"{"a":{"dtype":"I8","shape":[3],"data_offsets":[0,4]}}"#, 4, "a"),
        (r#"{"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0, "a"),
        (r#"{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#, 3, "data"),
        (r#"{"a":{"dtype":"I8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#, 1, "header"),
        (r#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}} {}"#, 1, "header"),
        (r#"{"__metadata__":{"a":1}}"#, 0, "header"),
    ] {
        match read(header, data) {
            Err(ModelError::Malformed { field: found, .. }) => assert_eq!(found, field, "{header}"),
            other => panic!("{header}: {other:?}"),
        }
    }
}

#[test]
fn malformed_files_are_refused_and_sound_ones_read() {
    let Some(base) = test_data::malformed("") else { return };
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(base.join("manifest.json")).unwrap()).unwrap();
    let mut read = 0;
    for entry in manifest["files"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        let path = base.join(name);
        if !name.starts_with("safetensors/") || !path.exists() {
            continue;
        }
        let outcome =
            MappedFile::open(&path).map_err(Into::into).and_then(|file| read_safetensors_header(&file));
        match entry["expect"].as_str().unwrap() {
            "ok" => assert!(outcome.is_ok(), "{name}: {outcome:?}"),
            "error" => {
                let message = outcome.expect_err(name).to_string();
                assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{message}");
            }
            _ => {}
        }
        read += 1;
    }
    assert!(read > 0);
}

proptest! {
    /// Any header that is accepted covers the data exactly, each tensor inside the file; none makes the reader panic.
    #[test]
    fn damaged_headers_are_refused_or_consistent(
        edits in prop::collection::vec((0..260_usize, prop::sample::select(b"\0\xff\"{}[]:,-019aeF .\\".to_vec())), 0..4),
        data in 0..40_usize,
    ) {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[1,3],"data_offsets":[0,6]},"b":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},"c":{"dtype":"I8","shape":[0],"data_offsets":[14,14]},"d":{"dtype":"I64","shape":[],"data_offsets":[14,22]}}"#;
        let mut file = file(header, data);
        for (at, byte) in edits {
            let length = file.len();
            file[at % length] = byte;
        }
        if let Ok(tensors) = read_bytes(file.clone()) {
            let mut end = None;
            for tensor in tensors {
                prop_assert!(end.is_none_or(|end| end == tensor.bytes.start));
                prop_assert_eq!(stored_bytes(&tensor.shape, tensor.dtype), Some(tensor.bytes.len()));
                end = Some(tensor.bytes.end);
            }
            prop_assert!(end.is_none_or(|end| end == file.len()));
        }
    }
}
