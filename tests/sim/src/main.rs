//! Starts a simulator by hand.

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Hugging Face's hub and router.
    Huggingface {
        /// On loopback.
        #[arg(long)]
        port: u16,
    },
    /// kie.ai's market API.
    Kie {
        /// On loopback.
        #[arg(long)]
        port: u16,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().service {
        Service::Huggingface { port } => {
            let (sim, server) = sim::huggingface::start(port).await?;
            say(&format!(
                "Hugging Face is simulated at {base}\n\n\
                 HF_TOKEN={token} TIKTOMATO__PROVIDERS__HF_URL={base} \
                 TIKTOMATO__PROVIDERS__HF_HUB_URL={base} \
                 TIKTOMATO__PROVIDERS__HF_MEDIA_HOSTS={base} cargo run\n\n\
                 What it accepted: {base}/admin/requests",
                base = sim.base(),
                token = sim::huggingface::TOKEN,
            ));
            server.forever().await?;
        }
        Service::Kie { port } => {
            let (sim, server) = sim::kie::start(port).await?;
            say(&format!(
                "kie.ai is simulated at {base}\n\n\
                 KIE_API_KEY={key} TIKTOMATO__PROVIDERS__KIE_URL={base} \
                 TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS={base} cargo run\n\n\
                 What it accepted: {base}/admin/requests",
                base = sim.base(),
                key = sim::kie::KEY,
            ));
            server.forever().await?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "whoever started it wants to know where it is")]
fn say(text: &str) {
    println!("{text}");
}
