//! `cudaGetDeviceProperties`, in the layout of each version: the name of the call says which.

use std::ffi::c_int;

use crate::{
    driver::{Driver, driver},
    export::exports,
    outcome::{Answer, Error},
    property_table::{BYTES_12, BYTES_13, FIELDS, Field, Kind, NAME_BYTES, TOTAL_MEMORY_AT, UUID_AT},
};

fn write(bytes: &mut [u8], at: usize, value: &[u8]) -> Answer {
    let place = at.checked_add(value.len()).and_then(|end| bytes.get_mut(at..end));
    place.ok_or(Error::UNKNOWN)?.copy_from_slice(value);
    Ok(())
}

/// The structure of one version.
fn filled<const BYTES: usize>(
    driver: &Driver,
    device: c_int,
    place: fn(&Field) -> Option<usize>,
) -> Result<[u8; BYTES], Error> {
    let (mut bytes, mut uuid, mut total, mut count) = ([0; BYTES], [0; 16], 0usize, 0);
    // SAFETY: each writes as many bytes as its place has; the name is terminated within its own.
    unsafe {
        driver.device_get_count(&raw mut count)?;
        if !(0..count).contains(&device) {
            return Err(Error::INVALID_DEVICE);
        }
        driver.device_get_name(bytes.as_mut_ptr().cast(), NAME_BYTES as c_int, device)?;
        driver.device_get_uuid(&raw mut uuid, device)?;
        driver.device_total_mem(&raw mut total, device)?;
    }
    write(&mut bytes, UUID_AT, &uuid)?;
    write(&mut bytes, TOTAL_MEMORY_AT, &total.to_ne_bytes())?;
    for field in FIELDS {
        let Some(start) = place(field) else { continue };
        for (index, attribute) in field.attributes.iter().enumerate() {
            let mut value = 0;
            // SAFETY: writes one number. An attribute that the driver does not have is 0.
            let _ = unsafe { driver.device_get_attribute(&raw mut value, *attribute, device) };
            match field.kind {
                Kind::Int => write(&mut bytes, start + 4 * index, &value.to_ne_bytes())?,
                Kind::Size => {
                    let value = usize::try_from(value).unwrap_or(0);
                    write(&mut bytes, start + 8 * index, &value.to_ne_bytes())?;
                }
            }
        }
    }
    Ok(bytes)
}

/// # Safety
/// `out` is null or has room.
unsafe fn give<const BYTES: usize>(
    out: *mut [u8; BYTES],
    device: c_int,
    place: fn(&Field) -> Option<usize>,
) -> Answer {
    let out = crate::outcome::place(out)?;
    let properties = filled(driver()?, device, place)?;
    // SAFETY: not null, so there is room: the caller's promise.
    unsafe { crate::outcome::put(out, properties) }
}

exports! {
    // The call of CUDA 12. Its header gives the plain name to programs of CUDA 11 alone.
    cudaGetDeviceProperties_v2(out: *mut [u8; BYTES_12], device: c_int) {
        // SAFETY: the caller gives room for the structure.
        unsafe { give(out, device, |field| field.in_12) }
    }
    // That of CUDA 13.
    cudaGetDeviceProperties(out: *mut [u8; BYTES_13], device: c_int) {
        // SAFETY: as above.
        unsafe { give(out, device, |field| field.in_13) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::runtime::sys::cudaDeviceProp;

    use super::*;

    fn width(field: &Field) -> usize {
        field.attributes.len() * if field.kind == Kind::Int { 4 } else { 8 }
    }

    #[test]
    fn fields_lie_aligned_within_the_structure_and_apart() {
        for (place, bytes) in [
            ((|field| field.in_12) as fn(&Field) -> Option<usize>, BYTES_12),
            (|field| field.in_13, BYTES_13),
        ] {
            let mut taken = vec![false; bytes];
            taken[..TOTAL_MEMORY_AT + 8].fill(true);
            for field in FIELDS {
                let Some(start) = place(field) else { continue };
                assert_eq!(start % if field.kind == Kind::Int { 4 } else { 8 }, 0, "{}", field.name);
                for byte in &mut taken[start..start + width(field)] {
                    assert!(!std::mem::replace(byte, true), "{} overlaps", field.name);
                }
            }
        }
    }

    /// The bindings are made from the header of CUDA 12.
    #[test]
    fn fields_are_where_the_header_of_cuda_12_has_them() {
        assert_eq!(size_of::<cudaDeviceProp>(), BYTES_12);
        assert_eq!(offset_of!(cudaDeviceProp, totalGlobalMem), TOTAL_MEMORY_AT);
        let at = |name: &str| FIELDS.iter().find(|field| field.name == name).and_then(|field| field.in_12);
        macro_rules! same {
            ($($field:ident)*) => {
                $(assert_eq!(at(stringify!($field)), Some(offset_of!(cudaDeviceProp, $field)), stringify!($field));)*
            };
        }
        same! {
            sharedMemPerBlock regsPerBlock warpSize memPitch maxThreadsPerBlock maxThreadsDim maxGridSize clockRate
            totalConstMem major minor textureAlignment deviceOverlap multiProcessorCount computeMode maxTexture2DLinear
            maxTexture3DAlt maxSurfaceCubemapLayered surfaceAlignment concurrentKernels pciBusID asyncEngineCount
            unifiedAddressing memoryClockRate memoryBusWidth l2CacheSize maxThreadsPerMultiProcessor
            sharedMemPerMultiprocessor regsPerMultiprocessor managedMemory cooperativeLaunch sharedMemPerBlockOptin
            maxBlocksPerMultiProcessor reservedSharedMemPerBlock memoryPoolsSupported clusterLaunch
            unifiedFunctionPointers
        }
    }
}
