//! Hands a fuzz target of fetchall's tests to libFuzzer, which keeps the inputs that reach new code.
//! A crate of its own, since calling C++ takes `unsafe`. `fuzz/run` builds and starts it.

use std::ffi::{CString, c_char, c_int};
use std::sync::Mutex;

/// What is called with each input. It panics if something is wrong.
pub type Target = Box<dyn FnMut(&[u8]) + Send>;

/// The target of this process: libFuzzer's callback takes no context.
static TARGET: Mutex<Option<Target>> = Mutex::new(None);

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        callback: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

extern "C" fn call(data: *const u8, size: usize) -> c_int {
    // SAFETY: libFuzzer passes a buffer of `size` bytes that lives as long as the call.
    let bytes = match size {
        0 => &[],
        _ => unsafe { std::slice::from_raw_parts(data, size) },
    };
    rust_fuzzer_test_input(bytes)
}

/// The name under which libfuzzer-sys looks for a target, too.
#[unsafe(no_mangle)]
extern "Rust" fn rust_fuzzer_test_input(bytes: &[u8]) -> c_int {
    let called = std::panic::catch_unwind(|| {
        let mut target = TARGET.lock().expect("no call has panicked before");
        target.as_mut().expect("it was set before the driver ran")(bytes);
    });
    if called.is_err() {
        // The signal makes libFuzzer write the input to a file.
        std::process::abort();
    }
    0
}

/// Runs libFuzzer with its own `arguments` (directories and `-option=value`), then ends the process.
/// `program` is the shell command that starts this process again, in front of such arguments.
pub fn run(program: &str, arguments: &[String], target: Target) -> ! {
    // Links the crate that brings libFuzzer.
    use libfuzzer_sys as _;

    *TARGET.lock().expect("it is set once") = Some(target);
    let strings: Vec<_> = std::iter::once(program)
        .chain(arguments.iter().map(String::as_str))
        .map(|argument| CString::new(argument).expect("arguments have no NUL"))
        .collect();
    let mut pointers: Vec<_> = strings
        .iter()
        .map(|string| string.as_ptr().cast_mut())
        .collect();
    let mut argc = c_int::try_from(pointers.len()).expect("a few arguments");
    pointers.push(std::ptr::null_mut());
    let mut argv = pointers.as_mut_ptr();
    // SAFETY: argv is a null-terminated array of NUL-terminated strings; both live until the end.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut argc, &raw mut argv, call) };
    std::process::exit(code)
}
