//! Shared data: one map for the whole process, by VM id, under one lock, with compare-and-swap.
//!
//! The profiles differ in what a CAS number of 0 means, and a guest that was only ever run on one of
//! them is usually wrong on the other. Envoy: 0 writes whatever is there, and any number does on a key
//! that is *missing* (`shared_data.cc`). nginx: the number is always compared, and 0 is that of a key that
//! is not there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::abi::Status;
use super::options::Profile;

#[derive(Debug, Default)]
pub(super) struct SharedData(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    maps: HashMap<String, HashMap<Vec<u8>, (Vec<u8>, u32)>>,
    last_cas: u32,
}

impl SharedData {
    /// The value and its CAS number.
    pub(super) fn read(&self, vm_id: &str, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.maps.get(vm_id)?.get(key).cloned()
    }

    /// Writes under the profile's reading of `cas`.
    pub(super) fn write(
        &self,
        profile: Profile,
        vm_id: &str,
        key: &[u8],
        value: Vec<u8>,
        cas: u32,
    ) -> Result<(), Status> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = inner.last_cas.checked_add(1).unwrap_or(1);
        if !inner.maps.contains_key(vm_id) {
            inner.maps.insert(vm_id.to_owned(), HashMap::new());
        }
        let Some(map) = inner.maps.get_mut(vm_id) else {
            return Err(Status::InternalFailure);
        };
        let found = map.get(key).map(|(_, cas)| *cas);
        let matches = match (profile, found) {
            (Profile::Envoy, None) => true,
            (Profile::Envoy, Some(found)) => cas == 0 || cas == found,
            (Profile::Nginx, found) => cas == found.unwrap_or(0),
        };
        if !matches {
            return Err(Status::CasMismatch);
        }
        match map.get_mut(key) {
            Some(entry) => *entry = (value, next),
            None => {
                map.insert(key.to_vec(), (value, next));
            }
        }
        inner.last_cas = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(data: &SharedData, profile: Profile, cas: u32) -> Result<(), Status> {
        data.write(profile, "vm", b"key", b"value".to_vec(), cas)
    }

    #[test]
    fn envoy_ignores_the_cas_number_of_a_missing_key_and_a_zero() {
        let data = SharedData::default();
        assert_eq!(write(&data, Profile::Envoy, 77), Ok(()));
        assert_eq!(write(&data, Profile::Envoy, 0), Ok(()));
        assert_eq!(write(&data, Profile::Envoy, 77), Err(Status::CasMismatch));
        let (_, cas) = data.read("vm", b"key").unwrap();
        assert_eq!(write(&data, Profile::Envoy, cas), Ok(()));
    }

    #[test]
    fn nginx_writes_a_missing_key_only_with_zero_and_then_never_with_zero() {
        let data = SharedData::default();
        assert_eq!(write(&data, Profile::Nginx, 77), Err(Status::CasMismatch));
        assert_eq!(write(&data, Profile::Nginx, 0), Ok(()));
        assert_eq!(write(&data, Profile::Nginx, 0), Err(Status::CasMismatch));
        let (_, cas) = data.read("vm", b"key").unwrap();
        assert_eq!(write(&data, Profile::Nginx, cas), Ok(()));
    }

    #[test]
    fn vms_of_another_id_see_nothing() {
        let data = SharedData::default();
        write(&data, Profile::Envoy, 0).unwrap();
        assert_eq!(data.read("other", b"key"), None);
    }
}
