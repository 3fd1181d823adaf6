//! Links the configuration of the allocator into the program.

fn main() {
    println!("cargo:rerun-if-changed=src/allocator.c");
    #[cfg(feature = "jemalloc")]
    if std::env::var_os("CARGO_CFG_UNIX").is_some() {
        let mut source = cc::Build::new();
        for object in source.file("src/allocator.c").compile_intermediates() {
            println!("cargo:rustc-link-arg-bins={}", object.display());
        }
    }
}
