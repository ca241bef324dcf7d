//! The page in an export that people read: who they are, and each job with its words and files. It
//! stands alone: no script, nothing from elsewhere.

use entities::{
    Timestamp,
    privacy::{AccountData, JobData},
};

use super::{Totals, content::output_file};

/// The page's end.
pub(super) const END: &str = "</main></body></html>\n";

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    section{border-top:1px solid #ccc;padding:1rem 0}img,video{max-width:16rem;max-height:16rem;\
    margin:.25rem}pre{white-space:pre-wrap;background:#f5f5f5;padding:.5rem}\
    dt{font-weight:bold}dd{margin:0 0 .5rem}";

/// Its beginning.
pub(super) fn head(data: &AccountData, totals: &Totals, now: Timestamp) -> String {
    let user = &data.user;
    let fact = |name: &str, value: &str| format!("<dt>{name}</dt><dd>{}</dd>", escape(value));
    let facts = [
        fact("Address", &user.email),
        fact("Name", user.name.as_deref().unwrap_or("not given")),
        fact("Account since", &user.created_at.to_string()),
        fact(
            "Credits",
            &format!("{} available, {} held", data.wallet.available.0, data.wallet.held.0),
        ),
        fact("Jobs", &totals.jobs.to_string()),
        fact("Files", &totals.files.to_string()),
        fact("Files that were deleted while this was made", &totals.missing_files.to_string()),
    ]
    .concat();
    let files = [
        ("account.json", "who you are, how you sign in, where you are signed in"),
        ("api_keys.json", "your keys, without their secrets"),
        ("jobs.json", "every job, with what you wrote and what became of it"),
        ("ledger.json", "every movement of credits"),
        ("usage.json", "the requests that were made with your keys"),
        ("uploads.json", "files that you handed in"),
        ("audit.json", "what happened to your account"),
    ]
    .map(|(file, what)| format!("<li><a href=\"{file}\">{file}</a>: {what}</li>"))
    .concat();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Your data at TikTomato</title><style>{STYLE}</style></head><body><main>\
         <h1>Your data at TikTomato</h1><p>Everything that was stored about you at {now}.</p>\
         <dl>{facts}</dl><h2>Files for programs</h2><ul>{files}</ul><h2>Your jobs</h2>\n"
    )
}

/// One job.
pub(super) fn job(data: &JobData) -> String {
    let job = &data.job;
    let words = match job.input["prompt"].as_str() {
        Some(prompt) => prompt.to_owned(),
        None if job.erased_at.is_some() => "(its content was deleted)".to_owned(),
        None => job.input.to_string(),
    };
    let files: String = data
        .outputs
        .iter()
        .filter(|output| output.deleted_at.is_none())
        .map(|output| {
            let file = escape(&output_file(output));
            if output.content_type.starts_with("image/") {
                format!("<a href=\"{file}\"><img src=\"{file}\" alt=\"\" loading=\"lazy\"></a>")
            } else {
                format!("<a href=\"{file}\">{file}</a> ")
            }
        })
        .collect();
    format!(
        "<section id=\"{id}\"><h3>{model}, {status}, {at}</h3><pre>{words}</pre>{files}</section>\n",
        id = job.id,
        model = escape(&job.model),
        status = job.state.public().name(),
        at = job.created_at,
        words = escape(&words),
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(escape("<b a='1'>&\"ä"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;ä");
    }
}
