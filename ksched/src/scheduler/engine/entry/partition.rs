//! Nodes by class.

use kcore::collections::HashMap;

/// A node that is in no class.
const NOWHERE: u32 = u32::MAX;
/// With more classes than these there is little to gain.
const MAX_CLASSES: usize = 1_024;

/// Nodes in classes that are told apart by numbers; of each class something more is kept.
#[derive(Debug)]
pub(super) struct Partition<T> {
    classes: Vec<Class<T>>,
    by_numbers: HashMap<Vec<i64>, u32>,
    /// Of each node.
    of: Vec<u32>,
    /// Classes that have nodes.
    live: usize,
}

/// One class.
#[derive(Debug)]
pub(super) struct Class<T> {
    pub(super) numbers: Vec<i64>,
    pub(super) nodes: usize,
    pub(super) more: T,
}

impl<T> Default for Partition<T> {
    fn default() -> Self {
        Self { classes: Vec::new(), by_numbers: HashMap::default(), of: Vec::new(), live: 0 }
    }
}

impl<T: Default> Partition<T> {
    /// So many nodes, none of which is in a class.
    pub(super) fn of_nodes(nodes: usize) -> Self {
        Self { of: vec![NOWHERE; nodes], ..Self::default() }
    }

    /// Takes a node out of its class, which is returned.
    pub(super) fn leave(&mut self, at: u32) -> Option<&mut T> {
        let class = std::mem::replace(&mut self.of[at as usize], NOWHERE);
        let class = self.classes.get_mut(class as usize)?;
        class.nodes -= 1;
        self.live -= usize::from(class.nodes == 0);
        Some(&mut class.more)
    }

    /// Puts a node that is in no class into that of these numbers.
    pub(super) fn enter(&mut self, at: u32, numbers: &[i64]) -> &mut T {
        let number = self.by_numbers.get(numbers).copied().unwrap_or_else(|| {
            let number = u32::try_from(self.classes.len()).unwrap_or(NOWHERE);
            self.by_numbers.insert(numbers.to_vec(), number);
            let numbers = numbers.to_vec();
            self.classes.push(Class { numbers, nodes: 0, more: T::default() });
            number
        });
        self.of[at as usize] = number;
        let class = &mut self.classes[number as usize];
        class.nodes += 1;
        self.live += usize::from(class.nodes == 1);
        &mut class.more
    }

    /// The classes, those without nodes included.
    pub(super) fn classes(&self) -> &[Class<T>] {
        &self.classes
    }

    /// The number of a node's class, if it is in one.
    pub(super) fn class_of(&self, at: u32) -> Option<usize> {
        let class = self.of.get(at as usize).copied().filter(|class| *class != NOWHERE)?;
        Some(class as usize)
    }

    /// Whether there are so many classes that it is better to look at each node.
    pub(super) fn is_useless(&self) -> bool {
        self.live > MAX_CLASSES
    }

    /// Whether so many classes have lost their nodes that it is better to begin anew.
    pub(super) fn is_worn(&self) -> bool {
        self.classes.len() > 2 * self.live + MAX_CLASSES
    }
}
