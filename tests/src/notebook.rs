//! A notebook that shows the page in the output of a cell (`tests/python/notebook.py`).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::http;
use crate::server::{neutral, program, root};
use crate::tools::{self, Process};
use crate::tunnel::{self, Flaw};

/// The notebook, its kernel, and the server that the kernel has started.
#[derive(Debug)]
pub struct Notebook {
    process: Process,
    /// Where the server listens, with nothing in between.
    pub server: SocketAddr,
    /// What stands for Colab's port proxy.
    proxy: SocketAddr,
    notebook: SocketAddr,
}

/// The Python with IPython, if `scripts/setup.sh test` has installed it.
pub fn installed() -> bool {
    let imports = |python| Command::new(python).args(["-c", "import IPython"]).output();
    tools::python().is_some_and(|python| imports(python).is_ok_and(|output| output.status.success()))
}

impl Notebook {
    /// Starts kernel and server, and a proxy to the server.
    #[track_caller]
    pub fn start(proxy: Flaw) -> Self {
        let mut child = neutral(Command::new(tools::python().unwrap()))
            .arg(root().join("tests/python/notebook.py"))
            .env("OOBLEX_BIN", program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Process(child);
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        let [server, notebook] = *ports else { panic!("the notebook says {line:?}") };
        let [server, notebook] = [server, notebook].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Self { process, server, proxy: tunnel::start(server, proxy), notebook }
    }

    /// The address of the document that holds the output.
    pub fn url(&self) -> String {
        format!("http://{}/?proxy=http://{}/", self.notebook, self.proxy)
    }

    /// Has the kernel run a cell, until [`Self::end_cell`].
    #[track_caller]
    pub fn run_cell(&self) {
        http::send(self.notebook, "POST", "/cell", &[], &[]).expect(200);
    }

    /// Ends the cell.
    #[track_caller]
    pub fn end_cell(&self) {
        http::send(self.notebook, "POST", "/cell/end", &[], &[]).expect(200);
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        // The server ends with the kernel, whose input ends here.
        drop(self.process.0.stdin.take());
        let _ = self.process.0.wait();
    }
}
