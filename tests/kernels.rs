//! The kernels' proof: every operation on every adapter against the f64 oracle, forward and gradient.

mod common;

use bootmae::ops::{Tile, Tuning, self_test::self_test};

fn check(device: &bootmae::device::Device, tuning: Tuning) {
    let outcomes = pollster::block_on(self_test(device, tuning)).expect("the self-test runs");
    assert!(!outcomes.is_empty());
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.pass).collect();
    assert!(failed.is_empty(), "on {} with {tuning:?}: {failed:#?}", device.adapter());
}

#[test]
fn every_operation_agrees_with_the_oracle() {
    common::on_each_adapter(|device, tuning| check(&device, tuning));
}

#[test]
fn the_web_safe_kernels_agree_with_the_oracle() {
    common::on_each_adapter(|device, _| check(&device, Tuning::default()));
}

#[test]
fn every_product_tile_agrees_with_the_oracle() {
    let tiles = [
        Tile::Plain,
        Tile::Register { rows: 4, cols: 4, group_rows: 8, group_cols: 8 },
        Tile::Register { rows: 3, cols: 5, group_rows: 2, group_cols: 16 },
    ];
    common::on_each_adapter(|device, tuning| {
        tiles.iter().for_each(|tile| check(&device, Tuning { product: *tile, ..tuning }));
        if let Tile::Pairs { lanes, .. } = tuning.product {
            let unpaired = Tile::Subgroup { lanes, rows: 32 / lanes, cols: 4 };
            check(&device, Tuning { product: unpaired, ..tuning });
        }
    });
}
