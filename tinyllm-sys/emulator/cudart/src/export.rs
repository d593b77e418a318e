//! How a call is written: its names, its arguments, and what it answers.

/// Declares calls.
///
/// `cudaA | cudaB (argument: Type) { … }` is one call under two names. After `; stream =>` comes the name under which the default
/// stream is the calling thread's. A body gives a `Result<(), Error>`; what panics in it is `cudaErrorUnknown`.
macro_rules! exports {
    (@one $name:ident ($($argument:ident: $ty:ty),*) $body:block) => {
        // SAFETY: no other library of a process that has this one defines the runtime's calls.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            $crate::outcome::answer(stringify!($name), move || $body)
        }
    };
    (@of_thread $name:ident $stream:ident ($($argument:ident: $ty:ty),*) $body:block) => {
        // SAFETY: as above.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            let $stream = $crate::streams::of_thread($stream);
            $crate::outcome::answer(stringify!($name), move || $body)
        }
    };
    (@call [$($name:ident)+] [$($stream:ident $of_thread:ident)?] $arguments:tt $body:block) => {
        $($crate::export::exports! { @one $name $arguments $body })+
        $($crate::export::exports! { @of_thread $of_thread $stream $arguments $body })?
    };
    ($($($name:ident)|+ $(; $stream:ident => $of_thread:ident)? ($($arguments:tt)*) $body:block)*) => {
        $($crate::export::exports! { @call [$($name)+] [$($stream $of_thread)?] ($($arguments)*) $body })*
    };
}
pub(crate) use exports;
