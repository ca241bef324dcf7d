//! How fast one job can be read.

use anyhow::Context;

use crate::{
    cli::GetArgs, closed_loop::Run, http::request, report::Report, tenants::Bench, trials::loop_row,
};

pub(super) async fn run(args: &GetArgs, report: &mut Report) -> anyhow::Result<()> {
    let mut bench = Bench::prepare(&args.target, &[], report).await?;
    let mut requests = Vec::new();
    for tenant in 0..bench.keys.len() {
        // A job that stays in flight, so that the answer does not change while it is measured.
        let job = bench.submit(tenant, &format!("get-{tenant}"), 600).await?;
        let id = job["id"].as_str().context("a job without an id")?;
        requests.push(request("GET", &format!("/v1/jobs/{id}"), bench.key(tenant), None));
    }
    for &connections in &args.pace.connections {
        let requests = requests.clone();
        let run = Run::new(bench.address, connections, 200, &args.pace);
        let mut tally =
            run.drive(move |connection, _| requests[connection % requests.len()].clone()).await;
        let what = format!("get {}", bench.name);
        report.row(loop_row(&what, connections, args.pace.seconds, &mut tally));
    }
    Ok(())
}
