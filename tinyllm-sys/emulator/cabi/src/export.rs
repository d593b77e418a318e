//! How a call is written: its names, its arguments, and what it answers.

use tinyllm_sys::StreamHandle;

/// The stream of a call whose default is the calling thread's.
pub(crate) fn of_thread(stream: u64) -> u64 {
    if stream == StreamHandle::LEGACY.0 { StreamHandle::PER_THREAD.0 } else { stream }
}

/// Declares calls and the function that finds them by name.
///
/// `cuA | cuA_v2 (argument: Type) { … }` is one call under two names. After `; stream =>` come the names under which the default
/// stream is the calling thread's. A body gives a `Result<(), Refusal>`; what panics in it is `CUDA_ERROR_UNKNOWN`.
macro_rules! exports {
    (@call [$($name:ident)+] [$($stream:ident $($of_thread:ident)+)?] $arguments:tt $body:block) => {
        $($crate::export::exports! { @one $name $arguments $body })+
        $($($crate::export::exports! { @of_thread $of_thread $stream $arguments $body })+)?
    };
    (@one $name:ident ($($argument:ident: $ty:ty),*) $body:block) => {
        // SAFETY: no other library of a process that has this one defines the driver's calls.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            $crate::result::answer(stringify!($name), move || $body)
        }
    };
    (@of_thread $name:ident $stream:ident ($($argument:ident: $ty:ty),*) $body:block) => {
        // SAFETY: as above.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            let $stream = $crate::export::of_thread($stream);
            $crate::result::answer(stringify!($name), move || $body)
        }
    };
    ($($($name:ident)|+ $(; $stream:ident => $($of_thread:ident)|+)? ($($arguments:tt)*) $body:block)*) => {
        $($crate::export::exports! {
            @call [$($name)+] [$($stream $($of_thread)+)?] ($($arguments)*) $body
        })*

        /// The address of a call of this group.
        pub(crate) fn find(name: &str) -> Option<*const std::ffi::c_void> {
            Some(match name {
                $(
                    $(stringify!($name) => $name as *const std::ffi::c_void,)+
                    $($(stringify!($of_thread) => $of_thread as *const std::ffi::c_void,)+)?
                )*
                _ => return None,
            })
        }
    };
}
pub(crate) use exports;
