//! Simulators of outside services, faithful to what is known of them. They keep state, make real
//! media, send a bill, and can be told to fail in every way that the platform must survive.
//!
//! | module | what |
//! |---|---|
//! | `serve` | HTTP/1 on loopback; an answer can be lost |
//! | `tls` | certificates for clients that insist on TLS |
//! | `faults` | rules: what goes wrong, for which request, how often |
//! | `input` | the files of an input, read as a model reads them |
//! | `record` | every accepted request and what it costs |
//! | `admin` | looking at what a simulator did, and telling it what to do |
//! | `media` | pictures and short films |
//! | `fal` | fal.ai's queue |
//! | `huggingface` | Hugging Face's hub and router, and the providers behind it |
//! | `kie` | kie.ai's market API |
//! | `google` | Google's sign-in |
//!
//! `cargo run -p sim -- fal --port 9300` starts one by hand. What it did is at `/admin/requests`;
//! `/admin/rules` says what shall go wrong. Everything is in memory and ends with the process.

mod admin;
pub mod fal;
pub mod faults;
pub mod google;
pub mod huggingface;
pub mod input;
pub mod kie;
pub mod media;
pub mod record;
pub mod serve;
pub mod tls;
