//! The program of the container that holds a pod's namespaces: it does nothing until
//! it is told to end. `tests/node/run` compiles it by itself.

fn main() {
    loop {
        // containerd kills it when the pod's other containers have ended.
        std::thread::park();
    }
}
