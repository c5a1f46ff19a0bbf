//! The demo in a browser: UISP's web front with the plugin below `/crm/`, and a page below `/demo` that
//! shows what goes on behind it and begins each scene anew. The browser tests and the pictures use it too.

mod backstage;
mod scenes;
pub mod walk;
pub mod world;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use url::form_urlencoded;

use crate::host::Schedule;
use crate::host::web::Site;
use crate::http::{Handler, Head, Request, Response, Server, ServerOptions};
use world::World;

pub use scenes::SCENES;

/// A running demo.
pub struct Demo {
    server: Server,
}

impl Demo {
    /// Installs the plugin from `zip` and begins a scene.
    ///
    /// # Errors
    /// There is no such scene, or it cannot be set up.
    pub fn start(zip: &Path, scene: &str) -> Result<Self> {
        let stage = Arc::new(Stage {
            zip: zip.to_owned(),
            url: OnceLock::new(),
            scene: Mutex::default(),
        });
        let handler = Arc::clone(&stage) as Arc<dyn Handler>;
        let server = Server::start(ServerOptions::default(), handler)?;
        // A fresh cell: nobody else sets it.
        let _ = stage.url.set(server.url());
        stage.begin(scene)?;
        Ok(Self { server })
    }

    /// Where it is served, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }
}

/// What is behind the one address: the scene that is on.
struct Stage {
    zip: PathBuf,
    url: OnceLock<String>,
    scene: Mutex<Option<Arc<Scene>>>,
}

/// A world with the plugin in it. The fields are dropped from the top: a run ends before its world.
struct Scene {
    name: &'static str,
    _schedule: Schedule,
    site: Arc<Site>,
    world: World,
}

impl Stage {
    /// Ends the scene that is on and begins another.
    fn begin(&self, name: &str) -> Result<()> {
        let (name, _, set_up) = SCENES
            .into_iter()
            .find(|(known, _, _)| *known == name)
            .with_context(|| format!("there is no scene {name:?}"))?;
        let url = self.url.get().context("the demo has no address yet")?;
        let world = World::for_browsers(&format!("{url}/crm/"))?;
        let mut plugin = world.install(&self.zip)?;
        set_up(&world, &mut plugin)?;
        let site = Site::new(plugin, &self.zip).with_link("Behind the scenes", "/demo");
        let site = Arc::new(site);
        let scene = Arc::new(Scene {
            name,
            _schedule: Schedule::start(Arc::clone(&site)),
            site,
            world,
        });
        *self.scene.lock().unwrap_or_else(PoisonError::into_inner) = Some(scene);
        Ok(())
    }

    fn answer(&self, scene: &Scene, head: &Head, form: &[(String, String)]) -> Result<Response> {
        let input = |key: &str| {
            let input = form.iter().find(|(known, _)| known == key);
            input.map_or("", |(_, input)| input.as_str())
        };
        let redirect = |path: &str| Response::empty(302).with_header("Location", path);
        Ok(match (head.method.as_str(), head.path()) {
            ("POST", "/demo/begin") => {
                self.begin(input("scene"))?;
                redirect("/crm/")
            }
            ("POST", path) => {
                backstage::act(scene, path, input("id"))?;
                redirect("/demo")
            }
            (_, "/") => redirect("/crm/"),
            (_, "/demo") => Response::html(200, backstage::page(scene)),
            _ => Response::text(404, "There is no such page."),
        })
    }
}

impl Handler for Stage {
    fn route(&self, head: &Head) -> String {
        head.path().to_owned()
    }

    fn handle(&self, request: &mut Request<'_>) -> io::Result<Response> {
        let scene = self
            .scene
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(scene) = scene else {
            return Ok(Response::text(503, "The demo is being set up."));
        };
        if request.head.path().starts_with("/crm") {
            return scene.site.handle(request);
        }
        let mut body = Vec::new();
        request.body.read_to_end(&mut body)?;
        let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        let answer = self.answer(&scene, request.head, &form);
        Ok(answer.unwrap_or_else(|error| Response::text(500, format!("{error:#}"))))
    }
}
