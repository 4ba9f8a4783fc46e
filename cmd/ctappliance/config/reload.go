package config

import "reflect"

// FixedChanges are the keys that differ and that a reload cannot change.
func FixedChanges(old, next *Config) []string {
	var keys []string
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for _, k := range configKeys() {
		if !k.Live && !reflect.DeepEqual(a.FieldByIndex(k.index).Interface(), b.FieldByIndex(k.index).Interface()) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}
