//! The VMs of native scenarios, and the configurations in force in them.

use std::cell::RefCell;
use std::rc::Rc;

use junheng::config::Config;
use junheng::flow::{Errand, Member, Worker};
use junheng::ports::Plugin;
use serde_json::Value;

use super::Native;

/// One worker's VM.
pub struct Vm {
    pub members: Vec<(Plugin, Rc<RefCell<Member>>)>,
    pub roots: Vec<Root>,
    /// What is asked and not answered, by which root, and how much of that was told.
    pub errands: Vec<(u32, usize, Errand)>,
    pub told: u32,
}

/// One configuration in force there, or one that was.
pub struct Root {
    pub plugin: Plugin,
    pub worker: Worker,
    /// Whether new streams are under it, and whether it ticks.
    pub serves: bool,
    pub ticks: bool,
}

impl Native {
    /// Makes a root of a plugin under its configuration, after which the last one serves no new
    /// streams.
    fn configure(&mut self, vm: usize, plugin: usize) {
        let (root_id, config) = &self.plugins[plugin];
        let config =
            Config::from_json(config.to_string().as_bytes()).expect("a valid configuration");
        let plugin = Plugin::new(root_id.as_bytes(), b"");
        self.born += 1;
        let seed = self.born;
        let meters = &mut self.meters;
        let vm = self.vms[vm].as_mut().expect("a worker that lives");
        let known = vm.members.iter().find(|(known, _)| *known == plugin);
        let member = known.map(|(_, member)| Rc::clone(member));
        let member = member.unwrap_or_else(|| {
            let first = vm.members.first().map(|(_, first)| first.borrow().beside());
            let member = first.unwrap_or_else(|| Member::new(seed));
            let member = Rc::new(RefCell::new(member));
            vm.members.push((plugin.clone(), Rc::clone(&member)));
            member
        });
        for last in vm.roots.iter_mut().filter(|last| last.plugin == plugin) {
            last.serves = false;
            last.worker.remember();
        }
        let worker = Worker::new(config, &member, seed, &mut plugin.on(meters));
        vm.roots.push(Root {
            plugin,
            worker,
            serves: true,
            ticks: true,
        });
    }

    fn retire(&mut self, at: (usize, usize)) {
        let root = &mut self.vm(at.0).roots[at.1];
        root.ticks = false;
        self.at_root(at, |worker, host| worker.on_retired(host));
        self.wake(at);
    }

    fn live(&self) -> Vec<usize> {
        let vms = 0..self.vms.len();
        vms.filter(|vm| self.vms[*vm].is_some()).collect()
    }

    pub fn start_vm(&mut self, worker: usize) {
        self.vms[worker] = Some(Vm {
            members: Vec::new(),
            roots: Vec::new(),
            errands: Vec::new(),
            told: self.asked,
        });
        for plugin in 0..self.plugins.len() {
            self.configure(worker, plugin);
        }
    }

    pub fn reload_current(&mut self, config: &Value) {
        let current = self.current;
        self.plugins[current].1 = config.clone();
        for vm in self.live() {
            self.configure(vm, current);
        }
    }

    pub fn drain_replaced(&mut self) {
        for vm in self.live() {
            for root in 0..self.vm(vm).roots.len() {
                let at = &self.vm(vm).roots[root];
                if at.ticks && !at.serves {
                    self.retire((vm, root));
                }
            }
        }
    }

    pub fn configure_current_again(&mut self, config: &Value) {
        let current = self.current;
        let plugin = Plugin::new(self.plugins[current].0.as_bytes(), b"");
        self.plugins[current].1 = config.clone();
        for vm in self.live() {
            let serving = |root: &Root| root.serves && root.plugin == plugin;
            let last = self.vm(vm).roots.iter().rposition(serving);
            self.configure(vm, current);
            self.retire((vm, last.expect("a configuration in force")));
        }
    }

    pub fn load(&mut self, root_id: &str, config: &Value) {
        self.plugins.push((root_id.to_owned(), config.clone()));
        self.current = self.plugins.len() - 1;
        for vm in self.live() {
            self.configure(vm, self.current);
        }
    }
}
