//! What plugins remember between the steps of one cycle.

use std::any::{Any, TypeId};
use std::fmt::Debug;

/// A value a cycle state can hold: anything that is cheap enough to clone.
trait Data: Any + Debug + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn Data>;
}

impl<T: Any + Debug + Clone + Send + Sync> Data for T {
    fn boxed_clone(&self) -> Box<dyn Data> {
        Box::new(self.clone())
    }
}

/// Values by their type, for one pod's cycle. Write in PreFilter or PreScore, read in Filter or
/// Score; a clone is independent, which is what simulated changes (preemption, nominated pods)
/// are tried on. Give each plugin a type of its own.
///
/// ```
/// use ksched::framework::CycleState;
/// #[derive(Debug, Clone, PartialEq)]
/// struct Wanted(i64);
/// let mut state = CycleState::default();
/// state.write(Wanted(2));
/// let mut what_if = state.clone();
/// what_if.write(Wanted(3));
/// assert_eq!(state.read::<Wanted>(), Some(&Wanted(2)));
/// ```
#[derive(Debug, Default)]
pub struct CycleState {
    values: Vec<(TypeId, Box<dyn Data>)>,
    /// Those that nobody needs once a node is chosen.
    passing: Vec<TypeId>,
}

impl CycleState {
    /// Puts a value in, in place of the one of that type.
    pub fn write<T: Any + Debug + Clone + Send + Sync>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        match self.values.iter_mut().find(|(known, _)| *known == id) {
            Some((_, slot)) => *slot = Box::new(value),
            None => self.values.push((id, Box::new(value))),
        }
    }

    /// Puts a value in that is needed only until a node is chosen: Reserve and what comes after
    /// does not see it. For what is large, or shared with what goes on changing.
    pub fn write_for_choice<T: Any + Debug + Clone + Send + Sync>(&mut self, value: T) {
        self.write(value);
        self.passing.push(TypeId::of::<T>());
    }

    /// A node is chosen.
    pub(crate) fn chosen(&mut self) {
        let passing = std::mem::take(&mut self.passing);
        self.values.retain(|(id, _)| !passing.contains(id));
    }

    /// The value of a type.
    #[must_use]
    pub fn read<T: Any>(&self) -> Option<&T> {
        let (_, value) = self.values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        let value: &dyn Any = &**value;
        value.downcast_ref()
    }

    /// The value of a type, to change.
    pub fn read_mut<T: Any>(&mut self) -> Option<&mut T> {
        let (_, value) = self.values.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        let value: &mut dyn Any = &mut **value;
        value.downcast_mut()
    }

    /// Takes the value of a type out.
    pub fn remove<T: Any>(&mut self) {
        self.values.retain(|(id, _)| *id != TypeId::of::<T>());
    }
}

impl Clone for CycleState {
    fn clone(&self) -> Self {
        let values = self.values.iter().map(|(id, value)| (*id, (**value).boxed_clone()));
        Self { values: values.collect(), passing: self.passing.clone() }
    }
}
