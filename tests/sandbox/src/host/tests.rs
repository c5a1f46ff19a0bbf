//! The host's rules, tried with a small plugin written in PHP.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use url::form_urlencoded;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::web::Site;
use super::*;
use crate::http::{Body, Head};

const MAIN: &str = "<?php
file_put_contents(__DIR__ . '/data/plugin.log', getcwd() . ' ' . getenv('GIVEN') . ' ' . getenv('HOME') . \"\\n\");
echo 'out'; fwrite(STDERR, 'err'); exit(is_file(__DIR__ . '/.ucrm-plugin-running') ? 5 : 6);";

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn host(&self) -> PluginHost {
        let php = find_php().expect("these tests need php: ./build.sh test installs it");
        PluginHost::new(self.folder.path().join("plugins"), "http://unms:8081/nms/")
            .with_env("GIVEN", "value")
            .with_launch(Launch::Php(php))
    }

    fn zip(&self, files: &[(&str, &str)]) -> PathBuf {
        let path = self.folder.path().join("upload.zip");
        let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, content) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    fn try_install(&self) -> anyhow::Result<Plugin> {
        self.host()
            .install(&self.zip(&[("manifest.json", &manifest(&json!([]))), ("main.php", MAIN)]))
    }

    fn install(&self) -> Plugin {
        self.try_install().unwrap()
    }

    fn install_enabled(&self) -> Plugin {
        let mut plugin = self.install();
        plugin.save_form(&[("token", "t")]).unwrap();
        plugin.enable().unwrap();
        plugin
    }
}

/// A manifest with a required text, an optional text, a checkbox, and more fields.
fn manifest(more: &Value) -> String {
    let mut fields = vec![
        json!({"key": "token", "label": "Token"}),
        json!({"key": "note", "label": "Note", "required": 0}),
        json!({"key": "tick", "label": "Tick", "required": 0, "type": "checkbox"}),
    ];
    fields.extend(more.as_array().unwrap().iter().cloned());
    json!({
        "version": "1",
        "information": {
            "name": "sample", "displayName": "Sample", "description": "A sample.", "url": "https://example.com/",
            "version": "1.0.0", "author": "nobody", "unmsVersionCompliancy": {"min": "2.1.0", "max": null},
        },
        "configuration": fields,
    })
    .to_string()
}

fn config(plugin: &Plugin) -> Value {
    Value::Object(plugin.config().unwrap())
}

#[test]
fn refuses_archives_that_the_host_refuses() {
    let world = World::new();
    let manifest = manifest(&json!([]));
    for (files, reason) in [
        (
            vec![
                ("folder/manifest.json", manifest.as_str()),
                ("folder/main.php", MAIN),
            ],
            "could not be found in the ZIP",
        ),
        (
            vec![("manifest.json", "{"), ("main.php", MAIN)],
            "not valid JSON",
        ),
        (vec![("manifest.json", &manifest)], "main.php"),
        (
            vec![
                ("manifest.json", &manifest),
                ("main.php", MAIN),
                ("ucrm.json", "{}"),
            ],
            "reserved file ucrm.json",
        ),
        (
            vec![
                ("manifest.json", &manifest),
                ("main.php", MAIN),
                (".ucrm-plugin-running", ""),
            ],
            "reserved",
        ),
    ] {
        let error = world.host().install(&world.zip(&files)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn installs_disabled_with_an_empty_form() {
    let world = World::new();
    let mut plugin = world.install();
    assert!(!plugin.is_enabled() && plugin.start().is_err());
    assert_eq!(
        config(&plugin),
        json!({"token": null, "note": null, "tick": false})
    );
    assert!(plugin.enable().unwrap_err().to_string().contains("Token"));

    let ucrm: Value =
        serde_json::from_slice(&fs::read(plugin.root().join("ucrm.json")).unwrap()).unwrap();
    assert_eq!(ucrm["unmsLocalUrl"], "http://unms:8081/nms/");
    assert_eq!(ucrm["pluginAppKey"], Value::Null);
    assert!(
        world
            .try_install()
            .unwrap_err()
            .to_string()
            .contains("installed already")
    );
}

#[test]
fn saves_the_form_as_the_host_does() {
    let world = World::new();
    let plugin = world.install();
    let path = plugin.root().join("data/config.json");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    plugin
        .save_form(&[("token", " a/b "), ("note", "  "), ("tick", "on")])
        .unwrap();
    assert_eq!(
        config(&plugin),
        json!({"token": "a/b", "note": null, "tick": true})
    );
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        r#"{"token":"a\/b","note":null,"tick":true}"#
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        plugin
            .save_form(&[("token", "")])
            .unwrap_err()
            .to_string()
            .contains("must not be empty")
    );
    assert!(plugin.save_form(&[("unknown", "")]).is_err());

    // A page opened before the plugin wrote its own value overwrites it.
    let stale = plugin.form().unwrap();
    fs::write(
        &path,
        r#"{"token":"t","note":"written by the plugin","tick":false,"own":1}"#,
    )
    .unwrap();
    plugin.submit_form(&stale).unwrap();
    assert_eq!(
        config(&plugin),
        json!({"token": "a/b", "note": null, "tick": true})
    );
}

#[test]
fn runs_main_php_under_the_running_marker() {
    let world = World::new();
    let plugin = world.install_enabled();
    let outcome = plugin.execute().unwrap();
    assert_eq!(outcome.exit_code, Some(5), "the marker was there");
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out", "err")
    );
    assert_eq!(
        plugin.log(),
        "/ value \n",
        "another working directory, a clean environment"
    );
    assert!(!plugin.is_running());
}

#[test]
fn runs_one_at_a_time_and_carries_out_requests() {
    let world = World::new();
    let plugin = world.install_enabled();
    assert!(plugin.start_requested().unwrap().is_none());
    plugin.request_execution().unwrap();

    let run = plugin.start().unwrap();
    assert!(plugin.is_running() && plugin.start().is_err());
    assert!(
        plugin.start_requested().unwrap().is_none(),
        "not while it runs"
    );
    drop(run);

    let run = plugin
        .start_requested()
        .unwrap()
        .expect("the request is still there");
    assert!(!plugin.is_execution_requested());
    run.wait().unwrap();
    assert!(!plugin.is_running());
}

#[test]
fn kills_a_run() {
    let world = World::new();
    let plugin = world.install_enabled();
    fs::write(plugin.root().join("main.php"), "<?php sleep(600);").unwrap();
    let outcome = plugin.start().unwrap().kill().unwrap();
    assert_eq!(outcome.exit_code, None);
    assert!(!plugin.is_running());

    let run = plugin.start().unwrap();
    send_signal(run.pid(), Signal::Term).unwrap();
    assert_eq!(run.wait().unwrap().exit_code, None);
}

#[test]
fn an_update_keeps_data_and_replaces_everything_else() {
    let world = World::new();
    let mut plugin = world.install_enabled();
    let path = |name: &str| plugin.root().join(name);
    let [old_file, state, shipped] = ["old.php", "data/state.json", "data/shipped"].map(path);
    fs::write(&old_file, "").unwrap();
    fs::write(&state, "{}").unwrap();
    fs::write(
        plugin.root().join("data/config.json"),
        r#"{"token":"t","note":"kept","gone":"x"}"#,
    )
    .unwrap();

    let manifest = manifest(&json!([{"key": "new", "label": "New", "required": 0}]));
    let files = [
        ("manifest.json", manifest.as_str()),
        ("main.php", "<?php exit(0);"),
        ("data/shipped", ""),
    ];
    plugin.update(&world.zip(&files)).unwrap();

    assert!(plugin.is_enabled());
    assert!(!old_file.exists() && state.exists() && !shipped.exists());
    assert_eq!(
        config(&plugin),
        json!({"token": "t", "note": "kept", "tick": false, "new": null})
    );
    assert_eq!(plugin.execute().unwrap().exit_code, Some(0));
}

#[test]
fn an_update_with_a_new_required_field_disables_the_plugin() {
    let world = World::new();
    let mut plugin = world.install_enabled();
    let manifest = manifest(&json!([{"key": "new", "label": "New"}]));
    plugin
        .update(&world.zip(&[("manifest.json", &manifest), ("main.php", MAIN)]))
        .unwrap();
    assert!(!plugin.is_enabled());
}

#[test]
fn an_update_is_refused_while_the_plugin_runs() {
    let world = World::new();
    let mut plugin = world.install_enabled();
    fs::write(plugin.root().join("main.php"), "<?php sleep(600);").unwrap();
    let run = plugin.start().unwrap();
    let zip = world.zip(&[("manifest.json", &manifest(&json!([]))), ("main.php", MAIN)]);
    assert!(
        plugin
            .update(&zip)
            .unwrap_err()
            .to_string()
            .contains("running")
    );
    assert!(plugin.clone().remove().is_err());
    drop(run);
    plugin.update(&zip).unwrap();
    plugin.remove().unwrap();
}

#[test]
fn hooks_run_after_their_event() {
    let world = World::new();
    let hook = |name: &str| {
        format!("<?php file_put_contents(__DIR__ . '/data/plugin.log', '{name} ', FILE_APPEND);")
    };
    let [install, configure, enable] = ["install", "configure", "enable"].map(hook);
    let files = [
        ("manifest.json", manifest(&json!([]))),
        ("main.php", MAIN.to_owned()),
        ("hook_install.php", install),
        ("hook_configure.php", configure),
        ("hook_enable.php", enable),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, content)| (*name, content.as_str()))
        .collect();
    let mut plugin = world.host().install(&world.zip(&files)).unwrap();
    assert_eq!(
        plugin
            .save_form(&[("token", "t")])
            .unwrap()
            .unwrap()
            .exit_code,
        Some(0)
    );
    plugin.enable().unwrap();
    assert_eq!(plugin.log(), "install configure enable ");
}

#[test]
fn opens_a_folder_that_another_version_left() {
    let world = World::new();
    let root = world.install_enabled().root().to_owned();
    assert_eq!(root.file_name(), Some(Path::new("sample").as_os_str()));
    let plugin = world.host().open("sample").unwrap();
    assert!(plugin.is_enabled());
    assert_eq!(config(&plugin)["token"], "t");
}

/// A script in the program's place that stops until it is killed.
const STOPPED_PROGRAM: &str = "#!/bin/sh\nkill -s STOP $$";

fn program_path() -> String {
    format!("bin/{}/backup-sync-dropbox", std::env::consts::ARCH)
}

fn wait_for_program(run: &mut Run) -> u32 {
    loop {
        if let Some(pid) = run.program_pid() {
            return pid;
        }
        assert!(
            !run.has_ended().unwrap(),
            "the run ended before the program was seen"
        );
        std::thread::yield_now();
    }
}

#[test]
fn without_php_the_program_is_started_directly() {
    let world = World::new();
    let program = "#!/bin/sh\necho \"$@\"; exit 7";
    let path = program_path();
    let files = [
        ("manifest.json", &*manifest(&json!([]))),
        ("main.php", MAIN),
        (&path, program),
    ];
    let mut plugin = world
        .host()
        .with_launch(Launch::Program)
        .install(&world.zip(&files))
        .unwrap();
    plugin.save_form(&[("token", "t")]).unwrap();
    plugin.enable().unwrap();
    let outcome = plugin.execute().unwrap();
    assert_eq!(outcome.exit_code, Some(7));
    assert_eq!(
        outcome.stdout,
        format!("--root {}\n", plugin.root().display())
    );
}

#[test]
fn the_program_survives_a_kill_of_php_and_can_be_killed_itself() {
    let world = World::new();
    let path = program_path();
    let main = format!(
        "<?php proc_close(proc_open(['sh', __DIR__ . '/{path}', '--root', __DIR__], [], $pipes));"
    );
    let files = [
        ("manifest.json", &*manifest(&json!([]))),
        ("main.php", &main),
        (&path, STOPPED_PROGRAM),
    ];
    let mut plugin = world.host().install(&world.zip(&files)).unwrap();
    plugin.save_form(&[("token", "t")]).unwrap();
    plugin.enable().unwrap();

    let mut run = plugin.start().unwrap();
    let program = wait_for_program(&mut run);
    assert_ne!(program, run.pid());
    run.kill().unwrap();
    assert!(Path::new(&format!("/proc/{program}")).exists());
    send_signal(program, Signal::Kill).unwrap();

    // Killed while PHP waits for it, the program ends the run.
    let mut run = plugin.start().unwrap();
    send_signal(wait_for_program(&mut run), Signal::Kill).unwrap();
    assert_eq!(run.wait().unwrap().exit_code, Some(0));
}

/// What a browser with these cookies is answered.
fn visit(
    site: &Site,
    cookies: &str,
    method: &str,
    target: &str,
    form: &[(&str, &str)],
) -> (u16, String, String) {
    let head = Head {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: vec![("Cookie".to_owned(), cookies.to_owned())],
        ..Head::default()
    };
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let response = site.answer(&head, form.as_bytes()).unwrap();
    let cookies = response
        .headers
        .iter()
        .filter(|(name, _)| name == "Set-Cookie")
        .filter_map(|(_, value)| value.split(';').next());
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    let Body::Bytes(body) = response.body else {
        unreachable!("pages are in memory")
    };
    (
        response.status,
        cookies,
        String::from_utf8_lossy(&body).into_owned(),
    )
}

#[test]
fn the_web_front_asks_for_the_permission_and_saves_as_the_form_does() {
    let world = World::new();
    let zip = world.zip(&[
        ("manifest.json", &manifest(&json!([]))),
        ("main.php", MAIN),
        (
            "hook_configure.php",
            "<?php touch(__DIR__ . '/data/hooked');",
        ),
    ]);
    let site = Site::new(world.host().install(&zip).unwrap(), &zip);
    let page = "/crm/system/plugins/sample";
    let log_in = |user| visit(&site, "", "POST", "/crm/login", &[("user", user)]).1;
    let [admin, viewer, billing] = ["admin", "viewer", "billing"].map(log_in);
    for (cookies, status) in [(&admin, 200), (&viewer, 200), (&billing, 403)] {
        assert_eq!(visit(&site, cookies, "GET", page, &[]).0, status);
    }
    assert_eq!(visit(&site, "", "GET", page, &[]).0, 302);

    let form = [("token", " t "), ("tick", "1")];
    let save = format!("{page}/save");
    for cookies in [&viewer, &billing] {
        assert_eq!(visit(&site, cookies, "POST", &save, &form).0, 403);
    }
    assert_eq!(config(&site.plugin())["token"], Value::Null);
    assert_eq!(visit(&site, &admin, "POST", &save, &form).0, 302);
    let saved = json!({"token": "t", "note": null, "tick": true});
    assert_eq!(config(&site.plugin()), saved);
    assert!(site.plugin().root().join("data/hooked").is_file());
    // Emptied again, the field is refused.
    visit(&site, &admin, "POST", &save, &[("token", " ")]);
    let (_, _, text) = visit(&site, &admin, "GET", page, &[]);
    assert!(text.contains("Token must not be empty."), "{text}");
    assert_eq!(config(&site.plugin()), saved);
}

#[test]
fn the_web_front_serves_public_files_of_enabled_plugins_and_no_others() {
    let world = World::new();
    let zip = world.zip(&[
        ("manifest.json", &manifest(&json!([]))),
        ("main.php", MAIN),
        (
            "public.php",
            "<?php http_response_code(418); echo $_SERVER['QUERY_STRING'], $_COOKIE['a'];",
        ),
        ("public/a.css", "p{}"),
    ]);
    let site = Site::new(world.host().install(&zip).unwrap(), &zip);
    let get = |path: &str| {
        visit(
            &site,
            "a=b",
            "GET",
            &format!("/crm/_plugins/sample/{path}"),
            &[],
        )
    };
    assert_eq!(get("public/a.css").0, 404);
    site.plugin().save_form(&[("token", "t")]).unwrap();
    site.plugin().enable().unwrap();
    assert_eq!(get("public/a.css").2, "p{}");
    // As on the host, it is there for everybody, and only by a link.
    assert_eq!(
        visit(&site, "", "GET", "/crm/_plugins/sample/public/a.css", &[]).0,
        200
    );
    let link = site.plugin().web().join("public");
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
    site.plugin().update(&zip).unwrap();
    assert_eq!(get("public/a.css").0, 200);
    let (status, _, text) = get("public.php?widget=1");
    assert_eq!((status, text.as_str()), (418, "widget=1b"));
    for path in [
        "main.php",
        "ucrm.json",
        "data/config.json",
        "public/../data/config.json",
        "public/",
    ] {
        assert_eq!(get(path).0, 404, "{path}");
    }
}
