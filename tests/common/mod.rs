//! What the GPU tests share: the adapters to run on.

use std::io::Write;

use bootmae::{
    device::{Device, DeviceOptions, adapters},
    kernels::Tuning,
};

/// Runs `test` on every adapter of this machine, with checked and with trusted shader modules, naming each; adapters have a
/// thread each, since most of the time goes into a driver's compiler. Fails when there is none, or when one that
/// `BOOTMAE_EXPECT_ADAPTERS` (comma-separated parts of names) lists is missing.
#[allow(dead_code)]
pub fn on_each_adapter(test: impl Fn(Device, Tuning) + Sync) {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: install a Vulkan driver (mesa-vulkan-drivers holds a software one)");
    let expected = std::env::var("BOOTMAE_EXPECT_ADAPTERS").unwrap_or_default();
    for name in expected.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        assert!(found.iter().any(|a| a.name.contains(name)), "adapter `{name}` is expected but not among {found:#?}");
    }
    let on = |index: usize| {
        for checked in [true, false] {
            let options = DeviceOptions { adapter: Some(index.to_string()), checked, ..Default::default() };
            let device = pollster::block_on(Device::open(&options)).expect("an adapter that opens");
            let modules = if checked { "checked" } else { "trusted" };
            writeln!(std::io::stderr(), "on {}, {modules} shaders", found[index]).expect("stderr");
            let tuning = Tuning::for_device(&device);
            test(device, tuning);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..found.len())
            .map(|index| {
                scope.spawn({
                    let on = &on;
                    move || on(index)
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// One adapter, for tests of behaviour rather than of arithmetic: lavapipe where it is present, being the faster of the
/// software rasterizers, else the strongest.
#[allow(dead_code)]
pub fn one_device(options: DeviceOptions) -> Device {
    let lavapipe = DeviceOptions { adapter: Some("llvmpipe".into()), ..options.clone() };
    pollster::block_on(async {
        match Device::open(&lavapipe).await {
            Ok(device) => device,
            Err(_) => Device::open(&options).await.expect("an adapter"),
        }
    })
}
