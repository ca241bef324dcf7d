//! Starts a simulator by hand.

use std::{io, path::PathBuf};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use sim::serve::Door;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Hugging Face's hub and router.
    Huggingface {
        #[command(flatten)]
        place: Place,
    },
    /// kie.ai's market API.
    Kie {
        #[command(flatten)]
        place: Place,
    },
    /// Google's sign-in.
    Google {
        /// On loopback.
        #[arg(long)]
        port: u16,
    },
    /// fal.ai's queue.
    Fal {
        #[command(flatten)]
        place: Place,
        /// The key that it lets in.
        #[arg(long, default_value = sim::fal::KEY)]
        key: String,
        /// The account that its callbacks are signed for.
        #[arg(long, default_value = sim::fal::USER)]
        user_id: String,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// On loopback; 0 takes any.
    #[arg(long)]
    port: u16,
    /// Speak TLS. A certificate is made in this folder (by openssl), and `ca.pem`, which the
    /// client is to trust.
    #[arg(long, value_name = "FOLDER")]
    tls: Option<PathBuf>,
}

impl Place {
    async fn door(&self) -> io::Result<Door> {
        match &self.tls {
            None => Door::plain(self.port).await,
            Some(folder) => Door::secure(self.port, folder).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().service {
        Service::Huggingface { place } => {
            let (sim, server) = sim::huggingface::start_behind(place.door().await?)?;
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
        Service::Kie { place } => {
            let (sim, server) = sim::kie::start_behind(place.door().await?)?;
            say(&format!(
                "kie.ai is simulated at {base}\n\n\
                 KIE_API_KEY={key} TIKTOMATO__PROVIDERS__KIE_URL={base} \
                 TIKTOMATO__PROVIDERS__KIE_UPLOAD_URL={base} \
                 TIKTOMATO__PROVIDERS__KIE_MEDIA_HOSTS={base} cargo run\n\n\
                 What it accepted: {base}/admin/requests",
                base = sim.base(),
                key = sim::kie::KEY,
            ));
            server.forever().await?;
        }
        Service::Google { port } => {
            let (sim, server) = sim::google::start(port).await?;
            say(&format!(
                "Google's sign-in is simulated at {base}\n\n\
                 TIKTOMATO__GOOGLE__CLIENT_ID={id} TIKTOMATO__GOOGLE__CLIENT_SECRET={secret} \
                 TIKTOMATO__GOOGLE__ISSUER={base} cargo run\n\n\
                 Then open /auth/google there. What it did: {base}/admin/requests",
                base = sim.base(),
                id = sim::google::CLIENT_ID,
                secret = sim::google::CLIENT_SECRET,
            ));
            server.forever().await?;
        }
        Service::Fal { place, key, user_id } => {
            let (sim, server) = sim::fal::start_as(place.door().await?, &key, &user_id)?;
            say(&format!(
                "fal.ai is simulated at {base}\n\n\
                 FAL_KEY={key} TIKTOMATO__PROVIDERS__FAL_URL={base} \
                 TIKTOMATO__PROVIDERS__FAL_API_URL={base} \
                 TIKTOMATO__PROVIDERS__FAL_JWKS_URL={base}/.well-known/jwks.json \
                 TIKTOMATO__PROVIDERS__FAL_MEDIA_HOSTS={base} \
                 TIKTOMATO__PROVIDERS__FAL_USER_ID={user_id} cargo run\n\n\
                 What it accepted: {base}/admin/requests",
                base = sim.base(),
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
