//! A bill of materials (CycloneDX 1.5, JSON) of packages and everything compiled into them, from
//! `cargo metadata`. The same tree gives the same bytes: no date, no random serial number.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::{Value, json};

/// Prints what is in the shipped programs.
#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value = "Cargo.toml")]
    manifest_path: PathBuf,
    /// Packages whose programs are shipped.
    #[arg(required = true)]
    packages: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the document is the program's output")]
fn main() -> Result<()> {
    let args = Args::parse();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(&args.manifest_path)
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata = serde_json::from_slice(&output.stdout).context("read cargo's metadata")?;
    let lock = std::fs::read_to_string(args.manifest_path.with_file_name("Cargo.lock"))
        .context("read Cargo.lock")?;
    println!("{}", serde_json::to_string_pretty(&bill(&metadata, &lock, &args.packages)?)?);
    Ok(())
}

fn bill(metadata: &Value, lock: &str, roots: &[String]) -> Result<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: HashMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: HashMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let checksums = checksums(lock);

    let mut waiting = Vec::new();
    for root in roots {
        let ours = |id: &&String| {
            let package = &packages[*id];
            package["name"] == root.as_str() && package["source"].is_null()
        };
        waiting.push(packages.keys().find(ours).with_context(|| format!("no package {root}"))?.clone());
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(id) = waiting.pop() {
        if found.contains_key(&id) {
            continue;
        }
        // What only tests or build scripts use is not in the programs.
        let linked = list(&nodes.get(&id).context("cargo resolved less than it named")?["deps"])
            .into_iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
            .map(|dep| text(&dep["pkg"]))
            .collect::<BTreeSet<_>>();
        waiting.extend(linked.iter().cloned());
        found.insert(id, linked);
    }

    let reference = |id: &String| purl(&packages[id]);
    let mut components: Vec<Value> = found
        .keys()
        .map(|id| {
            let package = &packages[id];
            let mut component = json!({
                "type": "library",
                "bom-ref": reference(id),
                "name": package["name"],
                "version": package["version"],
                "purl": reference(id),
            });
            if let Some(license) = package["license"].as_str() {
                // Cargo still allows the old form `MIT/Apache-2.0`.
                component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
            }
            let key = (text(&package["name"]), text(&package["version"]));
            if let Some(checksum) = checksums.get(&key).filter(|_| !package["source"].is_null()) {
                component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
            }
            component
        })
        .collect();
    components.sort_by_key(|component| component["purl"].to_string());
    let mut dependencies: Vec<Value> = found
        .iter()
        .map(|(id, linked)| {
            json!({ "ref": reference(id), "dependsOn": linked.iter().map(reference).collect::<BTreeSet<_>>() })
        })
        .collect();
    dependencies.sort_by_key(|dependency| dependency["ref"].to_string());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": "baton", "version": env!("CARGO_PKG_VERSION") } },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn purl(package: &Value) -> String {
    let part = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    format!("pkg:cargo/{}@{}", part("name"), part("version"))
}

/// By name and version, as the lock file has them.
fn checksums(lock: &str) -> HashMap<(String, String), String> {
    let mut found = HashMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
            line.strip_suffix('"').map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (value("name"), value("version"), value("checksum"))
        {
            found.insert((name, version), checksum);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_what_is_tested_with_is_not() {
        let package = |id: &str, source: Option<&str>| json!({ "id": id, "name": id, "version": "1.0.0", "source": source, "license": "MIT/Apache-2.0" });
        let dep = |id: &str, kind: Option<&str>| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [package("svc", None), package("lib", Some("registry")), package("tool", Some("registry")), package("other", None)],
            "resolve": { "nodes": [
                { "id": "svc", "deps": [dep("lib", None), dep("tool", Some("dev"))] },
                { "id": "lib", "deps": [dep("tool", Some("build"))] },
                { "id": "tool", "deps": [] },
                { "id": "other", "deps": [] },
            ] },
        });
        let lock = "[[package]]\nname = \"lib\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n";
        let bill = bill(&metadata, lock, &["svc".to_owned()]).unwrap();
        let names: Vec<_> =
            bill["components"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["lib", "svc"]);
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "abc");
        assert_eq!(bill["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["dependencies"][1]["dependsOn"], json!(["pkg:cargo/lib@1.0.0"]));
        assert!(super::bill(&metadata, lock, &["nobody".to_owned()]).is_err());
    }
}
