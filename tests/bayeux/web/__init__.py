"""A chat in the browser, to look at (`make demo-web`) and to test with: real clients, front-ends that get killed."""
