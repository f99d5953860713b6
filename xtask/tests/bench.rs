//! The benches themselves, small and as built: that they work, not what they measure.

use serde_json::Value;

#[tokio::test]
async fn a_campaign_is_measured_beside_live_messages() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "campaign", "--json", "--as-built", "--numbers", "2", "--recipients", "60"])
        .args(["--few", "10", "--live", "5", "--customers", "10", "--seconds", "2"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert!(output.status.success(), "{said}");
    for (size, recipients) in [("few", 10), ("many", 60)] {
        assert_eq!(report[size]["once"], recipients, "{report}");
        assert!(report[size]["rss_mib"].as_f64().unwrap() > 1.0, "{report}");
    }
    for side in ["with", "without"] {
        assert!(report[side]["messages"].as_u64().unwrap() > 0, "{report}");
        assert!(report[side]["p99_ms"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(report["ratio_p99"].as_f64().unwrap() > 0.0);
}
