//! BootMAE: bootstrapped masked autoencoders, trained through WebGPU natively and in the browser.
//!
//! The modules in layer order; imports go down only.

#![warn(missing_docs)]

pub mod dist;
#[cfg(not(target_arch = "wasm32"))]
pub mod durable;
pub mod error;
pub mod formats;
pub mod rng;
pub mod shape;
pub mod text;

pub mod kernels;

pub mod device;

pub mod graph;

pub mod ops;

pub mod lower;

pub mod exec;

pub mod data;
pub mod nn;

pub mod model;

pub mod tasks;

pub mod train;

#[cfg(not(target_arch = "wasm32"))]
pub mod report;

pub mod checkpoint;

pub mod interop;

pub mod check;
pub mod infer;
#[cfg(not(target_arch = "wasm32"))]
pub mod run;

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
#[cfg(target_arch = "wasm32")]
pub mod web;
