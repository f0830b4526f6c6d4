"""From a place to scenes and a grid."""
